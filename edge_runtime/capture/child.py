"""The process that owns one microphone: PortAudio in, messages of `wire.py` out on stdout.

It ends when its stdin closes (the listener is gone), when nobody reads its stdout, or with one `Failed` that says why.
It never ends in order: PortAudio beside a sound server that hangs would hang in that too.
"""

import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

import msgspec

from edge_runtime.capture import names, pulse, wire
from edge_runtime.capture.portaudio import COMMON_RATES, Input, Stream, inputs
from edge_runtime.errors import DeviceError, first_line

QUEUE_BLOCKS = 320  # 10 s between the callback and the pipe, then sound is lost and counted
POLL_S = 0.1  # seconds between looks at whether a silent stream has ended
TRIES, AGAIN_S = 3, 0.1  # looks at where a new stream is connected: a sound server may be slow to say


class Ears:
    """What the callback hears. It copies, counts what was lost, and leaves."""

    def __init__(self) -> None:
        self.queue: queue.Queue[wire.Sound] = queue.Queue(QUEUE_BLOCKS)
        self.ended = threading.Event()
        self._lost = 0  # frames since the last block

    def callback(self, indata: Any, frames: int, _times: object, status: Any) -> None:
        """A block from PortAudio, in its own thread."""
        if status.input_overflow:  # PortAudio does not say how much went missing: a block at least
            self._lost += frames
        try:
            self.queue.put_nowait(wire.Sound(self._lost, frames, time.monotonic(), bytes(indata)))
            self._lost = 0
        except queue.Full:
            self._lost += frames

    def forget(self) -> None:
        """As if nothing had been heard yet."""
        with suppress(queue.Empty):
            while True:
                self.queue.get_nowait()


class Capture:
    """A stream of the wanted microphone, at its own rate and with all its channels where that can be known."""

    def __init__(self, wanted: wire.Wanted) -> None:
        self._wanted = wanted
        cards = names.cards()
        self._device = names.find(wanted.device, inputs(), cards)
        self._need = max(wanted.channels) + 1
        self._check(self._device.channels, self._device.name)
        rates = [wanted.rate] if wanted.rate else list(dict.fromkeys((self._device.rate, *COMMON_RATES)))
        self.ears, self._stream = self._open(rates, sorted({self._need, self._device.channels}))
        self.place = self._connected()
        if self.place is not None:
            self._as(self.place)
        self.identity = self.place.source if self.place else _card(wanted, self._device, cards)

    def opened(self) -> wire.Opened:
        """What the listener is to know first; what was heard before is nobody's."""
        self.ears.forget()
        return wire.Opened(self._device.name, self._stream.rate, self._stream.channels, self.identity)

    def moved(self) -> str:
        """Where the stream is connected by now, in words; empty while nothing has changed."""
        if self.place is None or (now := pulse.moved(os.getpid(), self.place)) is None:
            return ""
        return f"the sound server has moved the stream to {now.source}, which is another microphone"

    def _open(self, rates: list[int], channels: list[int]) -> tuple[Ears, Stream]:
        ears = Ears()
        return ears, Stream(self._device, rates, channels, ears.callback, ears.ended.set)

    def _connected(self) -> pulse.Place | None:
        """The source of the sound server, of a device that is not the hardware itself."""
        if names.HARDWARE.search(self._device.name):
            return None
        for _ in range(TRIES):
            place = pulse.look(os.getpid())
            if (place is None and not pulse.reached()) or (place is not None and not place.suspended):
                return place
            time.sleep(AGAIN_S)
        if place is not None:
            raise DeviceError(f"{place.source} is suspended; resume it: pactl suspend-source {place.source} 0")
        return None

    def _as(self, place: pulse.Place) -> None:
        """Open again as the source is: a sound server would resample, and mix channels into one another."""
        self._check(place.channels, place.source)
        rate = self._wanted.rate or place.rate
        if (rate, place.channels) != (self._stream.rate, self._stream.channels):
            self._stream.close()
            self.ears, self._stream = self._open([rate], [place.channels])

    def _check(self, channels: int, name: str) -> None:
        for channel in self._wanted.channels:
            if not 0 <= channel < channels:
                raise DeviceError(f"no channel {channel}; {name} has {channels}, counted from 0")


class Pipe:
    """Where the messages go; whoever else prints on stdout prints into nothing."""

    def __init__(self) -> None:
        self._file = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def tell(self, message: wire.Message) -> None:
        """Write all of it, waiting as long as the listener is busy."""
        left = memoryview(wire.encode(message))
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os._exit(0)  # nobody listens any more


def main(argv: list[str]) -> NoReturn:
    """Capture until the listener is gone or the microphone fails."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the listener, which ends in order and this with it
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_listener, daemon=True).start()
    pipe = Pipe()
    try:
        _capture(msgspec.json.decode(argv[0], type=wire.Wanted), pipe)
    except Exception as error:  # whatever it is, the listener is told, and tries again
        said = str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {first_line(error)}"
        pipe.tell(wire.Failed(said))
    os._exit(1)


def _capture(wanted: wire.Wanted, pipe: Pipe) -> None:
    capture = Capture(wanted)
    pipe.tell(capture.opened())
    moved: list[str] = []
    threading.Thread(target=_watch, args=(capture, moved), daemon=True).start()
    while not moved:
        try:
            pipe.tell(capture.ears.queue.get(timeout=POLL_S))
        except queue.Empty:
            if capture.ears.ended.is_set():
                raise DeviceError("the stream has ended (unplugged, or its sound server gone)") from None
    raise DeviceError(moved[0])


def _watch(capture: Capture, moved: list[str]) -> None:
    while not moved:
        time.sleep(pulse.BETWEEN_S)
        if words := capture.moved():
            moved.append(words)


def _card(wanted: wire.Wanted, device: Input, cards: list[names.Card]) -> str:
    """The stable name of the hardware behind a name that could mean several."""
    hardware = names.HARDWARE.search(device.name) and not wanted.device.startswith(names.OF_CARDS)
    return names.described([device], cards)[0].name if hardware else ""


def _end_with_the_listener() -> None:
    """Its end of stdin closes with it, however it ends."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
