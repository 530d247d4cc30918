"""The commands of `python -m edge_runtime`: parsed options -> exit code."""

import argparse
import contextlib
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from edge_runtime import events
from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.backends import Backend, Pooled, open_backend
from edge_runtime.backends.standby import Change, Standby
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.capture import MicrophoneSettings, Source
from edge_runtime.capture.files import FileSource
from edge_runtime.capture.listen import until
from edge_runtime.capture.microphone import Microphone
from edge_runtime.cli import new_path, say
from edge_runtime.detector import Detector
from edge_runtime.errors import ConfigError
from edge_runtime.features import SAMPLE_RATE
from edge_runtime.outputs import Output
from edge_runtime.recorder import ClipWriter, Recorder, clip_folder
from edge_runtime.service import Service, stop_signals
from edge_runtime.sound import sound_files


def run(options: argparse.Namespace) -> int:
    """Listen to one machine; everything is checked before anything is made."""
    settings = AlarmSettings(alarm=LevelSettings(on_delay_s=options.on_delay, off_delay_s=options.off_delay))
    bundle = open_bundle(options.bundle)
    with contextlib.ExitStack() as stack:
        backend, changes = _listening(bundle, options.backend)
        stack.callback(backend.close)
        detector = _detector(options, bundle, backend)
        file = new_path(options.events, "--events") if options.events else None
        kept = new_path(options.save_audio, "--save-audio") if options.save_audio else None
        rate = detector.model.sample_rate
        stop = stack.enter_context(stop_signals())
        outputs = _outputs(options, detector.machine.name)
        source = _source(options, rate, detector.model.window)
        recorder = Recorder(_made(kept), rate) if kept else None
        tell = _teller(_log(file, stack), options.verbose)
        tell(_start(options.bundle, detector, source))
        Service(detector, settings, tell, outputs, recorder, changes).listen(source, stop, options.seconds)
    return 0


def score(options: argparse.Namespace) -> int:
    """One JSON line per window of every file; all files are checked before the first is scored."""
    bundle = open_bundle(options.bundle)
    detector = _detector(options, bundle, open_backend(bundle.network, bundle.model))
    rate, file = detector.model.sample_rate, ""
    files = sound_files(options.files)
    source = FileSource(files, rate, channels=[options.channel], shortest=detector.model.window)
    for block in until(source, threading.Event()):
        if block.new:
            file = block.new
            detector.reset()
        for window in detector.push(block.samples[:, 0]):
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
        say(f"{source.name}: clips of {options.clip_seconds:g} s to {folder}; Ctrl-C ends")
        try:
            for block in until(source, stop, None if options.clips else _samples(seconds)):
                writer.write(block)
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
    "run": run,
    "score": score,
    "record": record,
    "devices": devices,
}


def _listening(bundle: Bundle, name: str) -> tuple[Backend, Callable[[], Iterable[Change]]]:
    """Who runs the network, and what tells that another has taken over."""
    if name == "onnxruntime":
        return open_backend(bundle.network, bundle.model), tuple
    from edge_runtime.backends.ort import OnnxRuntime
    from edge_runtime.engine.ready import Engines

    engines = Engines(bundle)
    assert bundle.network is not None  # or there would be nothing to build
    standby = Standby(OnnxRuntime(bundle.network), engines)
    return Pooled(bundle.model, standby), standby.changes


def _detector(options: argparse.Namespace, bundle: Bundle, backend: Backend) -> Detector:
    machine = bundle.machine(options.machine)
    if options.threshold is not None:
        promise = "set with --threshold, no rate promised"
        machine = msgspec.structs.replace(machine, threshold=options.threshold, promise=promise)
    return Detector(bundle.model, machine, backend)


def _source(options: argparse.Namespace, rate: int, window: int) -> Source:
    if options.file:
        return FileSource(sound_files(options.file), rate, options.realtime, [options.channel], window)
    if options.realtime or options.fast:
        raise ConfigError("--realtime and --fast: a microphone has a pace of its own; use them with --file")
    return _microphone(options, rate)


def _microphone(options: argparse.Namespace, rate: int) -> Microphone:
    settings = MicrophoneSettings(options.device, options.rate)
    return Microphone(settings, rate, [options.channel], insist=False)


def _outputs(options: argparse.Namespace, machine: str) -> list[Output]:
    if not options.command:
        return []
    from edge_runtime.outputs.command import Command

    return [Command(options.command, machine)]


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"--save-audio {folder}: {error.strerror}; give a path that can be written") from None
    return folder


def _log(file: Path | None, stack: contextlib.ExitStack) -> events.Log:
    if file is None:
        return events.Log(sys.stdout)
    try:
        log = events.Log(file.open("x"))
    except OSError as error:
        raise ConfigError(f"--events {file}: {error.strerror}; give a path that can be written") from None
    stack.callback(log.close)
    return log


def _teller(log: events.Log, verbose: bool) -> Callable[[events.Event], None]:
    def tell(event: events.Event) -> None:
        log(event)
        if verbose and isinstance(event, events.Window):
            say(events.in_words(event))

    return tell


def _start(bundle: str, detector: Detector, source: Source) -> events.Start:
    model, machine = detector.model, detector.machine
    return events.Start(
        time=events.utc_now(),
        bundle=bundle,
        machine=machine.name,
        threshold=machine.threshold,
        promise=machine.promise,
        window_s=model.window / model.sample_rate,
        hop_s=model.hop / model.sample_rate,
        source=source.name,
    )


def _samples(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * SAMPLE_RATE)
