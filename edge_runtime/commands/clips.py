"""Microphones and clips: the commands devices, record and score."""

import argparse
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_runtime.backends import Backend, open_backend
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.capture import MicrophoneSettings
from edge_runtime.capture.files import FileSource
from edge_runtime.capture.listen import until
from edge_runtime.capture.microphone import Microphone
from edge_runtime.cli import say
from edge_runtime.detector import Detector, Ear
from edge_runtime.errors import ConfigError
from edge_runtime.features import SAMPLE_RATE
from edge_runtime.listening import events
from edge_runtime.listening.stopping import stop_signals
from edge_runtime.saving import ClipWriter, clip_folder
from edge_runtime.sound import sound_files


def score(options: argparse.Namespace) -> int:
    """One JSON line per window of every file; all files are checked before the first is scored."""
    bundle = open_bundle(options.bundle)
    detector = _detector(options, bundle, open_backend(bundle.network, bundle.model))
    rate, file = detector.model.sample_rate, ""
    files = sound_files(options.files)
    source = FileSource(files, rate, channels=[options.channel or 0], shortest=detector.model.window)
    for block in until(source, threading.Event()):
        if block.new:
            file = block.new
            detector.reset()
        for (window,) in detector.push(block.samples):
            print(msgspec.json.encode(events.scored(file, window, rate)).decode())
    return 0


def record(options: argparse.Namespace) -> int:
    """Microphone -> clips; nothing is made before the microphone is open and a clip complete."""
    folder = clip_folder(Path(options.out), options.label, options.append, SAMPLE_RATE)
    samples = round(options.clip_seconds * SAMPLE_RATE)
    seconds = options.clips * options.clip_seconds if options.clips else options.seconds
    if seconds is not None and seconds < options.clip_seconds:
        raise ConfigError(f"--seconds {seconds:g}: shorter than a clip of {options.clip_seconds:g} s; record longer")
    writer = ClipWriter(folder, SAMPLE_RATE, samples)
    with stop_signals() as stop:
        source = _microphone(options, SAMPLE_RATE)
        say(f"clips of {options.clip_seconds:g} s to {folder}; Ctrl-C ends")
        try:
            for block in until(source, stop, None if options.clips else _samples(seconds)):
                writer.write(block)
                for change in source.changes():
                    say(change.reason)
                if writer.clips == options.clips:
                    break
        finally:
            source.close()
            say(f"{writer.clips} clips in {folder}, {writer.broken} given up because sound was lost")
    return 0


def devices(options: argparse.Namespace) -> int:
    """The microphones there are, by their stable names; * marks the default one."""
    from edge_runtime.capture import names, portaudio

    found = names.described(portaudio.inputs(), names.cards())
    if options.json:
        print(msgspec.json.encode(found).decode())
        return 0
    for device in found:
        print(names.in_words(device))
    if not found:
        say("no microphone; plug one in, or see that its sound server runs")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "score": score,
    "record": record,
    "devices": devices,
}


def _detector(options: argparse.Namespace, bundle: Bundle, backend: Backend) -> Detector:
    machine = bundle.machine(options.machine)
    if options.threshold is not None:
        promise = "set with --threshold, no rate promised"
        machine = msgspec.structs.replace(machine, threshold=options.threshold, promise=promise)
    return Detector(bundle.model, backend, [Ear(machine)])


def _microphone(options: argparse.Namespace, rate: int) -> Microphone:
    settings = MicrophoneSettings(options.device or "default", options.rate)
    return Microphone(settings, rate, [options.channel or 0], insist=False)


def _samples(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * SAMPLE_RATE)
