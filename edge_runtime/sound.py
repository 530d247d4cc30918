"""Sound files, checked before they are trusted: WAV and FLAC -> one channel of float32 at the model's rate."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from edge_runtime.errors import AudioError
from edge_runtime.features import Floats

ENDINGS = (".wav", ".flac")  # what a folder is searched for, in any case
UNKNOWN = 0xFFFFFFFF  # a WAV written to a pipe does not know its length, an RF64 keeps it elsewhere
PIPED = 1 << 62  # libsndfile gives a FLAC without a length more frames than this


class Resampler:
    """Sound at one rate -> at another, in blocks of any size, with the same samples as from one block.

    Blocks are [samples], or [samples, channels] where a number of channels is given.
    """

    def __init__(self, source: int, target: int, channels: int | None = None) -> None:
        self._rates, self._stream = (source, target), None
        self._nothing: Floats = np.zeros(0 if channels is None else (0, channels), np.float32)
        if source != target:
            import soxr  # late: sound at the model's rate does not need it

            self._stream = soxr.ResampleStream(source, target, channels or 1, dtype="float32")

    def push(self, samples: Floats) -> Floats:
        """As many as are ready."""
        return samples if self._stream is None else self._stream.resample_chunk(samples)

    def flush(self) -> Floats:
        """What was still inside; then it is as new."""
        if self._stream is None:
            return self._nothing
        rest: Floats = self._stream.resample_chunk(self._nothing, last=True)
        self._stream.clear()
        return rest

    def scaled(self, samples: int) -> int:
        """A number of samples at the source's rate -> at the target's."""
        return round(samples * self._rates[1] / self._rates[0])


def sound_files(paths: Iterable[str | Path]) -> list[Path]:
    """Files as given; a folder stands for every WAV and FLAC below it, in order of name."""
    found: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not inside:
            raise AudioError(f"{path}: no WAV or FLAC file in this folder; give a folder of recordings")
        found += inside
    return found


def open_sound(path: Path, channel: int = 0) -> soundfile.SoundFile:
    """Open a file that is whole, holds sound and has that channel; anything else is one line."""
    try:
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: an empty file; record or copy it again")
        missing = _missing_bytes(path)
        sound = soundfile.SoundFile(path)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}; give the path of a sound file") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not a sound file ({_said(error)}); give a WAV or FLAC file") from None
    if sound.frames == 0:
        raise AudioError(f"{path}: holds no sound; record it again")
    if sound.frames >= PIPED:
        raise AudioError(f"{path}: a FLAC that was written to a pipe does not know its length; encode it again")
    if missing or not _reaches_its_end(sound):
        raise AudioError(f"{path}: truncated, its header promises more sound than there is; copy it again")
    if not 0 <= channel < sound.channels:
        raise AudioError(f"{path}: no channel {channel}; it has {sound.channels}, counted from 0")
    return sound


def _reaches_its_end(sound: soundfile.SoundFile) -> bool:
    """Whether the last sample can be read; only a compressed file can fail here."""
    try:
        sound.seek(sound.frames - 1)
        whole = len(sound.read(1)) == 1
        sound.seek(0)
    except soundfile.LibsndfileError:
        return False
    return whole


def _said(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(". ")


def check_length(path: Path, rate: int, channel: int, shortest: int) -> None:
    """Refuse what cannot be opened, and what holds fewer than `shortest` samples at `rate`."""
    with open_sound(path, channel) as sound:
        if sound.frames * rate < shortest * sound.samplerate:
            have, need = sound.frames / sound.samplerate, shortest / rate
            raise AudioError(f"{path}: {have:.3f} s of sound, the window is {need:.3f} s; give a longer recording")


def read_blocks(path: Path, rate: int, channel: int | Sequence[int], block_s: float) -> Iterator[Floats]:
    """A file at `rate`, in blocks of about that many seconds: [samples] float32 of one channel, [samples, n] of n."""
    last, several = (channel, None) if isinstance(channel, int) else (max(channel), len(channel))
    with open_sound(path, last) as sound:
        resampler, left = Resampler(sound.samplerate, rate, several), sound.frames
        while left:
            samples = _read(path, sound, max(1, round(sound.samplerate * block_s)))[:, channel]
            if not len(samples):
                raise AudioError(f"{path}: ends {left / sound.samplerate:.3f} s before its header says; copy it again")
            left -= len(samples)
            yield resampler.push(samples)
        yield resampler.flush()


def _read(path: Path, sound: soundfile.SoundFile, frames: int) -> Floats:
    try:
        samples: Floats = sound.read(frames, dtype="float32", always_2d=True)
        return samples
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: damaged ({_said(error)}); copy it again") from None


def _missing_bytes(path: Path) -> int:
    """Bytes of sound that the header of a WAV promises and the file does not have; libsndfile passes over them."""
    size, extended = path.stat().st_size, 0
    with path.open("rb") as file:
        head, at = file.read(12), 12
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return 0
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"ds64":
                extended = int.from_bytes(file.read(16)[8:], "little")
            if name == b"data":
                wanted = extended if length == UNKNOWN else length
                return max(0, wanted - (size - at - 8))
            at += 8 + length + length % 2
    return 1  # no chunk of sound at all
