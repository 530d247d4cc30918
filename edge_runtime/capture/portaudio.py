"""PortAudio through sounddevice, which is imported here alone: which devices there are, and a stream of one."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from edge_runtime.capture import BLOCK_S
from edge_runtime.errors import DeviceError

LATENCY_S = 0.2  # seconds that the sound card's own buffer bridges while the machine is busy
COMMON_RATES = (48_000, 44_100, 16_000)  # Hz, tried where a device refuses what it calls its own

Callback = Callable[[Any, int, Any, Any], None]  # buffer of float32, frames, times, flags


class Input(msgspec.Struct, frozen=True):
    """A device that can record, as PortAudio sees it."""

    index: int
    name: str
    channels: int
    rate: int  # Hz, its own
    default: bool


def library() -> Any:
    """The sounddevice module."""
    # Without it PulseAudio and PipeWire hand sound over in bursts of up to 2 s, which look like a dead microphone.
    os.environ.setdefault("PULSE_LATENCY_MSEC", "32")
    try:
        with _quiet():
            import sounddevice
    except ImportError:
        raise DeviceError("the Python package sounddevice is missing; pip install 'auscult[mic]'") from None
    except OSError as error:
        raise DeviceError(f"PortAudio cannot be loaded ({error}); apt install libportaudio2") from None
    return sounddevice


def inputs() -> list[Input]:
    """Every device that can record, as they were when this process first looked."""
    portaudio = library()
    default = portaudio.default.device[0]
    return [
        Input(
            found["index"],
            found["name"],
            found["max_input_channels"],
            round(found["default_samplerate"]),
            found["index"] == default,
        )
        for found in portaudio.query_devices()
        if found["max_input_channels"] > 0
    ]


class Stream:
    """A running stream of one device."""

    def __init__(self, device: Input, rates: list[int], channels: list[int], callback: Callback, ended: Any) -> None:
        """The first of these rates (Hz) and numbers of channels that the device takes; `ended` is called at its end."""
        portaudio = library()
        refused = ""
        for rate, count in ((rate, count) for rate in rates for count in channels):
            try:
                self._stream = _started(
                    portaudio,
                    device=device.index,
                    channels=count,
                    samplerate=rate,
                    blocksize=round(rate * BLOCK_S),
                    latency=LATENCY_S,
                    dtype="float32",
                    callback=callback,
                    finished_callback=ended,
                )
            except portaudio.PortAudioError as error:
                refused = _said(error)
            else:
                self.rate, self.channels = rate, count
                return
        asked = f"{rates[0]} Hz" if len(rates) == 1 else "any rate"
        raise DeviceError(f"cannot be opened at {asked} ({refused}); is another program using it?")

    def close(self) -> None:
        """Give back the device. Beside a sound server that hangs this hangs: who calls it must be one to be killed."""
        self._stream.close(True)


def _started(portaudio: Any, **options: Any) -> Any:
    with _quiet():
        stream = portaudio.RawInputStream(**options)
        try:
            stream.start()
        except portaudio.PortAudioError:
            stream.close(True)
            raise
    return stream


def _said(error: Exception) -> str:
    """What ALSA says, where PortAudio hands it on."""
    quoted = re.search(r"'(.+)'", str(error))
    return quoted[1] if quoted else str(error)


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
