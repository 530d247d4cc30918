"""Where sound comes from: files, or a microphone; either gives mono float32 blocks at the model's rate.

sounddevice is imported here alone, and only for a microphone. A microphone that stops says so: a stream that ends or
stalls is a DeviceError, because a dead microphone must never look like a quiet machine.
"""

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from edge_runtime.errors import DeviceError
from edge_runtime.features import Floats
from edge_runtime.sound import Resampler, check_length, read_blocks

BLOCK_S = 0.032  # seconds a block of the microphone
LATENCY_S = 0.2  # seconds that the sound card's own buffer bridges while the machine is busy
QUEUE_BLOCKS = 320  # 10 s between the callback and the detector, then sound is lost and counted
POLL_S = 0.05  # seconds between looks at a silent queue
STALL_S = 0.5  # seconds without a block: the microphone is dead
START_S = 4.0  # seconds to the first block: a sound server that was asleep takes up to 2 s
CLOSE_S = 1.0  # seconds to wait for a stalled stream to close


class Block(msgspec.Struct, frozen=True):
    """The next sound of a stream; it may be empty while a microphone is waited for."""

    samples: Floats  # [n] float32, at the model's rate
    lost: int = 0  # samples lost before this block, at the model's rate
    new: str | None = None  # the name of the recording that begins with this block


class Source(Protocol):
    """Gives blocks until the sound ends."""

    name: str

    def blocks(self) -> Iterator[Block]:
        """The stream, once."""
        ...

    def close(self) -> None:
        """Give back the device."""
        ...


class FileSource:
    """Files one after another, each a recording of its own; all are checked before the first is played."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        sample_rate: int,
        realtime: bool = False,
        channel: int = 0,
        shortest: int = 1,  # samples that every file must hold: the window
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.name = str(self.paths[0]) + (f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else "")
        self._rate, self._realtime, self._channel = sample_rate, realtime, channel
        for path in self.paths:
            check_length(path, sample_rate, channel, shortest)

    def blocks(self) -> Iterator[Block]:
        """As fast as they are taken, or, in real time, each block once its last sample would have sounded."""
        began, given = time.monotonic(), 0
        for path in self.paths:
            new: str | None = str(path)
            for samples in read_blocks(path, self._rate, self._channel, 0.1 if self._realtime else 1.0):
                if not len(samples):
                    continue
                given += len(samples)
                if self._realtime:
                    time.sleep(max(0.0, began + given / self._rate - time.monotonic()))
                yield Block(samples, new=new)
                new = None

    def close(self) -> None:
        """Nothing is held between blocks."""


class MicSource:
    """One channel of a microphone. The callback copies, counts what was lost, and leaves."""

    def __init__(self, device: str | None, sample_rate: int, channel: int = 0) -> None:
        self._portaudio = _portaudio()
        found = _find(self._portaudio, device)
        if not 0 <= channel < found["max_input_channels"]:
            raise DeviceError(f"{found['name']}: no channel {channel}; it has {found['max_input_channels']}, from 0")
        self._channel, self._lost = channel, 0
        self._queue: queue.Queue[tuple[int, Floats]] = queue.Queue(QUEUE_BLOCKS)
        self._ended = threading.Event()
        self._stream, rate = self._open(found, sample_rate)
        self._resampler = Resampler(rate, sample_rate)
        self.name = found["name"] if rate == sample_rate else f"{found['name']}, resampled from {rate} Hz"

    def _open(self, found: dict[str, Any], wanted: int) -> tuple[Any, int]:
        """At the wanted rate (Hz) or, where that is refused, the device's own."""
        refused = ""
        for rate in (wanted, round(found["default_samplerate"])):
            try:
                with _quiet():
                    stream = self._portaudio.InputStream(
                        device=found["index"],
                        channels=self._channel + 1,
                        samplerate=rate,
                        blocksize=round(rate * BLOCK_S),
                        latency=LATENCY_S,
                        dtype="float32",
                        callback=self._callback,
                        finished_callback=self._ended.set,
                    )
                return stream, rate
            except self._portaudio.PortAudioError as error:
                refused = str(error)
        raise DeviceError(f"{found['name']}: cannot be opened ({refused}); is another program using it?")

    def _callback(self, indata: Floats, frames: int, _time: object, status: Any) -> None:
        """[frames, channels] from PortAudio, in its own thread."""
        if status.input_overflow:  # PortAudio does not say how much went missing: a block at least
            self._lost += frames
        try:
            self._queue.put_nowait((self._lost, indata[:, self._channel].copy()))
            self._lost = 0
        except queue.Full:
            self._lost += frames

    def blocks(self) -> Iterator[Block]:
        """Until the microphone fails; empty blocks while it is waited for, so that a listener can stop."""
        try:
            with _quiet():
                self._stream.start()
        except self._portaudio.PortAudioError as error:
            raise DeviceError(f"{self.name}: cannot be started ({error}); is another program using it?") from None
        new: str | None = self.name
        waited, patience = 0.0, START_S
        while True:
            try:
                lost, samples = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                waited += POLL_S  # counted in polls: a process that was itself stopped does not blame the microphone
                self._check(waited, patience)
                yield Block(_NOTHING)
                continue
            waited, patience = 0.0, STALL_S
            if lost:
                yield Block(self._resampler.flush())
            yield Block(self._resampler.push(samples), self._resampler.scaled(lost), new)
            new = None

    def _check(self, waited: float, patience: float) -> None:
        if self._ended.is_set():
            raise DeviceError(f"{self.name}: the stream has ended (unplugged, or its sound server gone); start again")
        if waited >= patience:
            raise DeviceError(
                f"{self.name}: no sound for {patience:g} s, the microphone is dead; check it, start again"
            )

    def close(self) -> None:
        """Let go of the device at once, as an abort does.

        Where the sound server hangs, PortAudio hangs with it, and would again in stop, abort or at exit. It forgets
        the stream as the first step of closing it, so a thread that never returns is all that is left behind.
        """
        thread = threading.Thread(target=self._stream.close, args=(True,), daemon=True)
        thread.start()
        thread.join(CLOSE_S)


_NOTHING: Floats = np.zeros(0, np.float32)


class Device(msgspec.Struct, frozen=True):
    """A microphone that PortAudio sees."""

    index: int
    name: str
    channels: int
    sample_rate: float  # Hz, its own
    default: bool


def devices() -> list[Device]:
    """Every device that can record."""
    portaudio = _portaudio()
    default = portaudio.default.device[0]
    return [
        Device(
            found["index"],
            found["name"],
            found["max_input_channels"],
            found["default_samplerate"],
            found["index"] == default,
        )
        for found in portaudio.query_devices()
        if found["max_input_channels"] > 0
    ]


def _find(portaudio: Any, device: str | None) -> dict[str, Any]:
    """By name, part of a name, or index; None is the default."""
    try:
        index = int(device) if device and device.isdecimal() else device
        found: dict[str, Any] = portaudio.query_devices(index, kind="input")
        return found
    except (ValueError, portaudio.PortAudioError) as error:
        several = "several microphones match" if "Multiple" in str(error) else "no such microphone"
        names = ", ".join(f"{found.index} {found.name}" for found in devices()) or "none"
        place = "default device" if device is None else device
        raise DeviceError(f"{place}: {several}; there is {names}; see python -m edge_runtime devices") from None


def _portaudio() -> Any:
    """The sounddevice module."""
    # Without it PulseAudio and PipeWire hand sound over in bursts of up to 2 s, which look like a dead microphone.
    os.environ.setdefault("PULSE_LATENCY_MSEC", "32")
    try:
        import sounddevice
    except ImportError:
        raise DeviceError("the Python package sounddevice is missing; pip install 'auscult[mic]'") from None
    except OSError as error:
        raise DeviceError(f"PortAudio cannot be loaded ({error}); apt install libportaudio2") from None
    return sounddevice


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what ALSA and PortAudio print about a refused setting off stderr: the error says it in one line."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
