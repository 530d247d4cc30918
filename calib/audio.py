"""A sound file to learn from: whole, finite and at the model's rate, or an error that says which it is not."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import soundfile

from edge_runtime.errors import AudioError
from edge_runtime.features import SAMPLE_RATE
from edge_runtime.sound import open_sound

BLOCK = 1 << 18  # frames read at a time: an hour-long recording is measured in a megabyte
LOUDEST = 4.0  # re full scale: resampling overshoots by a little, samples left at integer scale by thousands


class Sound(msgspec.Struct, frozen=True):
    """What a sound file holds."""

    seconds: float
    channels: int


def read(path: Path, channel: int = 0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A sound file -> [samples] float32 re full scale, one channel of it."""
    return np.concatenate([block[:, channel] for block in _blocks(path, channel, sample_rate)])


def measure(path: Path, sample_rate: int = SAMPLE_RATE) -> Sound:
    """Read a file to its end, all of its channels."""
    frames = channels = 0
    for block in _blocks(path, 0, sample_rate):
        frames, channels = frames + len(block), block.shape[1]
    return Sound(frames / sample_rate, channels)


def _blocks(path: Path, channel: int, sample_rate: int) -> Iterator[np.ndarray]:
    """-> at least one [frames, channels] float32."""
    with open_sound(path, channel) as file:
        if file.samplerate != sample_rate:
            raise AudioError(f"{path}: {file.samplerate} Hz, wanted {sample_rate} Hz; resample it")
        left = file.frames
        while len(block := _next(path, file)):
            left -= len(block)
            yield _checked(path, block)
        if left:
            raise AudioError(f"{path}: ends {left} frames before its header says; copy it again")


def _next(path: Path, file: soundfile.SoundFile) -> np.ndarray:
    try:
        return file.read(BLOCK, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: damaged ({error.error_string}); copy it again") from None


def _checked(path: Path, block: np.ndarray) -> np.ndarray:
    if not np.isfinite(block).all():
        raise AudioError(f"{path}: NaN or infinite samples; export it again")
    if (peak := np.abs(block).max()) > LOUDEST:
        raise AudioError(f"{path}: samples up to {peak:.4g}, full scale is 1; export it again, scaled")
    return block
