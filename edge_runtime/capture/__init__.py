"""Where sound comes from: files, or a microphone; either gives float32 blocks at the model's rate.

A microphone is captured by a child process (`child.py`) that owns PortAudio and writes what it hears into a pipe.
PortAudio freezes its list of devices when it begins, refreshing the list kills every stream of the process, and beside
a sound server that hangs, opening, stopping and aborting hang for good. A child can be killed, a new one has a fresh
list, and the trouble of one microphone never touches another.

This file is imported by the child too, which is to stay small: no NumPy here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_runtime.features import Floats

BLOCK_S = 0.032  # seconds a block of the microphone
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000  # Hz that a microphone can be asked for


class Block(msgspec.Struct, frozen=True):
    """The next sound of a stream."""

    samples: Floats  # [n, channels] float32, at the model's rate; n may be 0: time has passed
    at_s: float = 0.0  # when its last sample sounded: monotonic seconds of a microphone, seconds of sound of files
    lost: int = 0  # samples lost before this block, at the model's rate
    new: str | None = None  # the name of the recording that begins with this block


class Change(msgspec.Struct, frozen=True):
    """A microphone is heard now, or no more."""

    listening: bool
    reason: str  # one line, for people


class MicrophoneSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A microphone of the site file."""

    device: str = "default"  # by what stays the same: usb:VENDOR:PRODUCT[:SERIAL], usb-port:…, card:ID, pcm:NAME
    rate: int | None = None  # Hz that it is opened at; its own without

    def __post_init__(self) -> None:
        if not self.device:
            raise ConfigError("device is empty; give a name of python -m edge_runtime devices")
        if self.rate is not None and not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise ConfigError(f"rate {self.rate}: wanted {LOWEST_RATE} to {HIGHEST_RATE} Hz")


class Source(Protocol):
    """Gives the sound that there is, whenever it is asked."""

    name: str
    drift_ppm: float | None  # of the sound card's clock, above 0: fast; None: it is not known

    @property
    def ended(self) -> bool:
        """No more sound will ever come; a microphone never ends by itself."""
        ...

    def take(self) -> Iterator[Block]:
        """What there is now; never waits."""
        ...

    def changes(self) -> Iterable[Change]:
        """What happened to the microphone since this was last asked."""
        ...

    def fileno(self) -> int | None:
        """To wait on; it may change from call to call. None: there is nothing to wait on."""
        ...

    def close(self) -> None:
        """Give back the device, within 0.5 s; one more `take` then gives what was still inside."""
        ...
