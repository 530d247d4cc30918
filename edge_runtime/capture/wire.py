"""What the child tells the listener through the pipe. NumPy is not imported: the child is to stay small.

message = kind (1 byte: O, S or F) | length of the rest (4 bytes, little-endian) | rest
S: lost (4 bytes), frames (4 bytes), monotonic seconds (float64), float32 samples, interleaved;  O, F: JSON
"""

import struct
from collections.abc import Iterator

import msgspec

HEAD = struct.Struct("<cI")
SOUND = struct.Struct("<IId")
LONGEST = 1 << 24  # bytes of a message: 87 s of one channel at 48 kHz; more is no message of ours


class Wanted(msgspec.Struct, frozen=True):
    """What the child is to capture: its command line."""

    device: str
    rate: int | None  # Hz; the device's own without
    channels: tuple[int, ...]  # that it must have, counted from 0


class Opened(msgspec.Struct, frozen=True):
    """The stream runs."""

    name: str  # what PortAudio calls the device
    rate: int  # Hz
    channels: int  # of every frame
    identity: str = ""  # which sound source stands behind a name that can mean several; "" where that cannot be known


class Sound(msgspec.Struct, frozen=True):
    """A block."""

    lost: int  # frames before it
    frames: int
    at_s: float  # monotonic seconds when it came from PortAudio
    samples: bytes  # frames x channels of float32


class Failed(msgspec.Struct, frozen=True):
    """The child ends."""

    words: str  # one line, for people


Message = Opened | Sound | Failed


def encode(message: Message) -> bytes:
    """A message as it goes through the pipe."""
    if isinstance(message, Sound):
        rest = SOUND.pack(message.lost, message.frames, message.at_s) + message.samples
        return HEAD.pack(b"S", len(rest)) + rest
    rest = msgspec.json.encode(message)
    return HEAD.pack(b"O" if isinstance(message, Opened) else b"F", len(rest)) + rest


class Reader:
    """Bytes in any pieces -> whole messages."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that end in this piece; ValueError where it is no message of ours."""
        self._left += data
        at = 0
        while at + HEAD.size <= len(self._left):
            kind, length = HEAD.unpack_from(self._left, at)
            if length > LONGEST or kind not in b"OSF":
                raise ValueError(f"{kind!r} {length}: no message")
            end = at + HEAD.size + length
            if end > len(self._left):
                break
            rest = bytes(self._left[at + HEAD.size : end])
            at = end
            yield _decoded(kind, rest)
        del self._left[:at]


def _decoded(kind: bytes, rest: bytes) -> Message:
    if kind == b"O":
        return msgspec.json.decode(rest, type=Opened)
    if kind == b"F":
        return msgspec.json.decode(rest, type=Failed)
    if len(rest) < SOUND.size:
        raise ValueError("a block without its head")
    lost, frames, at_s = SOUND.unpack_from(rest)
    return Sound(lost, frames, at_s, rest[SOUND.size :])
