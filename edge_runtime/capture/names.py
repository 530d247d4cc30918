"""What a microphone is called by: something that stays the same when it is plugged in again and the machine restarts.

    usb:VENDOR:PRODUCT[:SERIAL]   this microphone, wherever it is plugged in; without a serial, the only one of its kind
    usb-port:1-2.3                whatever is plugged into this port
    card:ID                       the sound card of this ALSA ID
    pcm:NAME, or NAME alone       exactly what PortAudio calls it, such as a PCM of ALSA's configuration
    default                       what the system calls its default microphone

Never a number in a list and never a part of a name: what is not there is an error, and nothing else takes its place.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge_runtime.capture.portaudio import Input
from edge_runtime.errors import DeviceError

SYS, PROC = Path("/sys/class/sound"), Path("/proc/asound")  # of the kernel
HARDWARE = re.compile(r"\(hw:(\d+),(\d+)\)")  # card and device, in PortAudio's name of an ALSA device
OF_CARDS = ("usb:", "usb-port:", "card:")


class Card(msgspec.Struct, frozen=True):
    """A sound card that the kernel sees."""

    number: int  # of now; it changes
    id: str  # of ALSA
    usb: str = ""  # VENDOR:PRODUCT or VENDOR:PRODUCT:SERIAL
    port: str = ""  # of USB

    @property
    def names(self) -> list[str]:
        """Every name of it, the best first."""
        usb = [f"usb:{self.usb}"] if self.usb else []
        port = [f"usb-port:{self.port}"] if self.port else []
        return [*usb, *port, f"card:{self.id}"]

    def called(self, name: str) -> bool:
        """Whether this is one of its names; `usb:` may leave the serial out."""
        return name in self.names or (name.count(":") == 2 and f"usb:{self.usb}".startswith(f"{name}:"))


class Device(msgspec.Struct, frozen=True):
    """A microphone, for people."""

    name: str  # the stable name to use
    names: list[str]  # all of them
    channels: int
    sample_rate: int  # Hz, its own
    portaudio: str  # what PortAudio calls it
    default: bool


def cards(sys: Path = SYS, proc: Path = PROC) -> list[Card]:
    """The sound cards there are."""
    numbers = sorted(int(path.name[4:]) for path in sys.glob("card*") if path.name[4:].isdecimal())
    found = []
    for number in numbers:
        id = _text(proc / f"card{number}" / "id") or _text(sys / f"card{number}" / "id")
        plug = _usb_device((sys / f"card{number}" / "device").resolve())
        parts = [_text(plug / part) for part in ("idVendor", "idProduct", "serial")] if plug else []
        found.append(Card(number, id, ":".join(filter(None, parts)), plug.name if plug else ""))
    return found


def find(wanted: str, inputs: Sequence[Input], cards: Sequence[Card]) -> Input:
    """The one device of this name."""
    if wanted == "default":
        matches = [device for device in inputs if device.default]
    elif wanted.startswith(OF_CARDS):
        theirs = [card.number for card in cards if card.called(wanted)]
        if len(theirs) > 1:
            ports = " or ".join(card.names[-2] for card in cards if card.number in theirs)
            raise DeviceError(f"{wanted}: {len(theirs)} microphones match; say which by its port: {ports}")
        matches = [device for device in inputs if _place(device)[0] in theirs]
        matches = sorted(matches, key=_place)[:1]  # a card with several inputs: its first
    else:
        matches = [device for device in inputs if device.name == wanted.removeprefix("pcm:")]
    if len(matches) > 1:
        raise DeviceError(f"{wanted}: {len(matches)} microphones are called so; use another of their names")
    if not matches:
        there = ", ".join(device.name for device in described(inputs, cards)) or "none"
        raise DeviceError(f"{wanted}: no such microphone; there is {there}; see python -m edge_runtime devices")
    return matches[0]


def described(inputs: Sequence[Input], cards: Sequence[Card]) -> list[Device]:
    """Every device with its stable names; the name to use is one that means it alone."""
    found = []
    for device in inputs:
        card = next((card for card in cards if card.number == _place(device)[0]), None)
        names = card.names if card else [f"pcm:{device.name}"]
        alone = [name for name in names if sum(other.called(name) for other in cards) <= 1]
        found.append(
            Device((alone or names)[0], names, device.channels, device.rate, device.name, device.default),
        )
    return found


def in_words(device: Device) -> str:
    """A line of `devices`."""
    others = "".join(f", {name}" for name in device.names if name != device.name)
    mark = "*" if device.default else " "
    return f"{mark} {device.name}  {device.channels} channels  {device.sample_rate} Hz  ({device.portaudio}{others})"


def plugged_in(wanted: str, sys: Path = SYS, proc: Path = PROC) -> bool | None:
    """Whether the kernel sees the card of this name; None for names that are not a card's. Costs next to nothing."""
    if not wanted.startswith(OF_CARDS):
        return None
    return any(card.called(wanted) for card in cards(sys, proc))


def _place(device: Input) -> tuple[int, int]:
    """Card and device of ALSA; -1 for what is not hardware."""
    match = HARDWARE.search(device.name)
    return (int(match[1]), int(match[2])) if match else (-1, -1)


def _usb_device(place: Path) -> Path | None:
    """The USB device that a card's interface is a part of."""
    return next((folder for folder in (place, *place.parents) if (folder / "idVendor").is_file()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
