"""The microphones: there by their names, heard, and heard as they were when the machine was learned."""

import ctypes.util
import importlib.util
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge_runtime.capture import Source
from edge_runtime.doctor import Finding
from edge_runtime.doctor.patient import Patient
from edge_runtime.errors import DeviceError
from edge_runtime.features import SAMPLE_RATE, Floats, LogMel, log_mel
from edge_runtime.listening.opening import Placed, channels
from edge_runtime.quality import Fault, QualitySettings, judge

POLL_S = 0.05
LEAST = 0.9  # of the sound that was waited for
SHORTEST = LogMel().n_fft  # samples of a frame


class Heard(msgspec.Struct):
    """What a microphone gave."""

    sound: list[Floats] = []  # [n, channels] each
    lost: int = 0
    changes: list[str] = []


def libraries(_patient: Patient) -> Iterator[Finding]:
    """What a microphone needs, and whether a sound server answers."""
    if importlib.util.find_spec("sounddevice") is None:
        yield Finding("sound", "fail", "the Python package sounddevice is missing", "pip install 'auscult[mic]'")
    elif ctypes.util.find_library("portaudio") is None:
        yield Finding("sound", "fail", "PortAudio is missing", "apt install libportaudio2")
    else:
        yield Finding("sound", "ok", "PortAudio is there")
    server = _server()
    if server is None:
        yield Finding("sound", "ok", "no sound server of this user: microphones are heard through ALSA")
    elif _answers(server):
        yield Finding("sound", "ok", f"a sound server answers at {server}")
    else:
        todo = "start it again (systemctl --user restart pulseaudio, or pipewire-pulse)"
        yield Finding("sound", "warn", f"the sound server at {server} does not answer", todo)


def microphones(patient: Patient) -> Iterator[Finding]:
    """Each of them for some seconds."""
    for name, settings in patient.microphones.items():
        here = [one for one in patient.placed if one.settings.microphone == name]
        rate = here[0].bundle.model.sample_rate if here else SAMPLE_RATE
        columns = channels(here) or [0]
        try:
            source = patient.open_source(settings, rate, columns)
        except DeviceError as error:
            seen, _, todo = str(error).rpartition("; ")
            yield Finding("microphone", "fail", f"{name}: {seen or todo}", todo if seen else "plug it in")
            continue
        try:
            heard = listen(source, patient.seconds)
        finally:
            source.close()
        yield from _of(f"{name} ({source.name})", heard, here, columns, rate, patient.seconds)


def listen(source: Source, seconds: float) -> Heard:
    """What it gives in that time."""
    heard, deadline = Heard(), time.monotonic() + seconds
    while time.monotonic() < deadline and not source.ended:
        file = source.fileno()
        if file is None:
            time.sleep(POLL_S)
        else:
            select.select([file], [], [], POLL_S)
        for block in source.take():
            heard.sound.append(block.samples)
            heard.lost += block.lost
        heard.changes += [change.reason for change in source.changes() if not change.listening]
    return heard


def _of(
    name: str, heard: Heard, here: Sequence[Placed], columns: Sequence[int], rate: int, seconds: float
) -> Iterator[Finding]:
    for reason in dict.fromkeys(heard.changes):
        yield Finding("microphone", "fail", f"{name}: {reason}", "check its plug and cable, and who else uses it")
    sound = np.concatenate(heard.sound) if heard.sound else np.zeros((0, len(columns)), np.float32)
    came = len(sound) / rate
    if len(sound) < SHORTEST:
        yield Finding("microphone", "fail", f"{name}: no sound in {seconds:g} s", "check its plug, cable and driver")
        return
    if heard.lost:
        words = f"{name}: {heard.lost / rate:.2f} s of the sound were lost"
        yield Finding("microphone", "warn", words, "end other programs; a USB hub may be overloaded")
    if came + heard.lost / rate < LEAST * seconds:
        words = f"{name}: {came:.1f} s of sound in {seconds:g} s: its clock is wrong, or it comes in bursts"
        yield Finding("microphone", "warn", words, "give its own `rate:`; see python -m edge_runtime devices")
    for column, channel in enumerate(columns):
        mine = [one for one in here if one.settings.channel == channel]
        yield from _channel(f"{name}, channel {channel}", np.ascontiguousarray(sound[:, column]), mine, rate)


def _channel(name: str, sound: Floats, machines: Sequence[Placed], rate: int) -> Iterator[Finding]:
    """The level, and what is odd about the sound by itself or beside each machine's normal sound."""
    alone = judge(sound, None, None, QualitySettings(), rate)
    level = "silent" if alone.level_dbfs is None else f"{alone.level_dbfs:.1f} dBFS"
    if alone.found:
        yield from (_finding(f"{name}: {level}", fault) for fault in alone.found)
        return
    yield Finding("microphone", "ok", f"{name}: {level}, peak {_peak_dbfs(sound):.1f} dBFS")
    mel = log_mel(sound, LogMel()).mean(axis=0)
    for one in machines:
        if not one.settings.quality.compare:
            continue
        beside = judge(sound, mel, one.machine, one.settings.quality, rate).found
        yield from (_finding(f"{name}, {one.name}", fault) for fault in beside)
        if not beside:
            yield Finding("microphone", "ok", f"{name}: sounds as {one.name} does when it is well")


def _finding(name: str, fault: Fault) -> Finding:
    """What a fault asks stands behind its colon: a window is unfit with it, or only noted."""
    seen, _, todo = fault.words.partition(": ")
    todo = todo or "see that the right microphone is at its place, and the machine runs"
    return Finding("microphone", "fail" if fault.unfit else "warn", f"{name}: {seen}", todo)


def _peak_dbfs(sound: Floats) -> float:
    return 20.0 * float(np.log10(max(float(np.abs(sound).max()), 1e-9)))


def _server() -> str | None:
    """The socket of the user's PulseAudio or PipeWire, if there is one."""
    told = os.environ.get("PULSE_SERVER", "")
    if told:
        return told.removeprefix("unix:")
    path = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "pulse", "native")
    return str(path) if path.exists() else None


def _answers(server: str) -> bool:
    if not server.startswith("/"):
        return True  # of another machine: the microphone will tell
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(1.0)
        try:
            stream.connect(server)
        except OSError:
            return False
    return True
