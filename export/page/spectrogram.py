"""A stream's sound -> a log-mel picture small enough to be part of a page."""

import base64
import io
import itertools

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime import features
from edge_runtime.features import Floats, LogMel
from export.page.content import Spectrogram

COLOURS = "magma"  # of matplotlib: lightness rises with level, also for the colour-blind and on paper
LEVELS = 96  # steps of colour; more cannot be told apart, and each costs bytes
COLUMNS = 1600  # of a picture; a screen has hardly more
FRAMES_AT_ONCE = 2048  # bounds the memory of a long stream


class Picture(msgspec.Struct, frozen=True):
    """A spectrogram as a PNG, with what its axes and colours mean."""

    uri: str  # data URI
    low: int  # dB of the darkest colour
    high: int  # dB of the lightest
    colours: list[str]  # CSS colours from low to high


def compute(parts: list[tuple[float, Floats]], spec: LogMel) -> Spectrogram:
    """Recordings as (second at which it begins, [samples]) -> the log-mel of them all; no frame spans two."""
    levels, times = [np.zeros((0, spec.n_mels), np.float32)], [np.zeros(0)]
    for start, sound in parts:
        frames = features.frames_in(len(sound), spec)
        for first in range(0, frames, FRAMES_AT_ONCE):
            count = min(FRAMES_AT_ONCE, frames - first)
            block = sound[first * spec.step :][: features.samples_of(count, spec)]
            levels.append(features.log_mel(block, spec))
        times.append(start + (np.arange(frames) * spec.step + spec.n_fft / 2) / spec.sample_rate)
    return Spectrogram(np.concatenate(levels), np.concatenate(times), features.mel_frequencies(spec))


def picture(spectrogram: Spectrogram, seconds: float, limit: int = COLUMNS) -> Picture | None:
    """The whole stream as at most `limit` columns; transparent where there is no sound. None: nothing to see."""
    sound = spectrogram.levels[np.isfinite(spectrogram.levels)]
    sound = sound[sound > sound.min(initial=0.0) + 1.0]  # digital silence says nothing about the range
    if not len(sound) or seconds <= 0:
        return None
    low, high = np.floor(np.percentile(sound, 3)), np.ceil(np.percentile(sound, 99.8))
    high = max(high, low + 10.0)
    columns = condense(spectrogram, seconds, limit)
    scaled = np.clip((columns - low) / (high - low), 0.0, 1.0) * (LEVELS - 1)
    indices = np.where(np.isnan(scaled), LEVELS, np.rint(scaled)).astype(np.uint8)
    colours = _colours(LEVELS)
    uri = _png(indices.T[::-1], colours)
    stops = [f"rgb({r},{g},{b})" for r, g, b in colours[:: LEVELS // 8].tolist()]
    return Picture(uri, int(low), int(high), stops)


def condense(spectrogram: Spectrogram, seconds: float, limit: int) -> NDArray[np.float32]:
    """-> [columns, n_mels] dB, evenly spaced over `seconds`: the highest level of each band in each column.

    The maximum, not the mean: a knock that lasts one frame stays to be seen. NaN where there is no sound.
    """
    times, levels = spectrogram.times, spectrogram.levels
    step = float(np.median(np.diff(times))) if len(times) > 1 else seconds
    count = max(1, min(limit, round(seconds / step)))
    edges = np.searchsorted(times, np.linspace(0.0, seconds, count + 1))
    result = np.full((count, levels.shape[1]), np.nan, np.float32)
    for column, (first, last) in enumerate(itertools.pairwise(edges.tolist())):
        if last > first:
            result[column] = levels[first:last].max(axis=0)
            continue
        middle = (column + 0.5) * seconds / count
        nearest = int(np.argmin(np.abs(times - middle)))  # a column narrower than a frame
        if abs(times[nearest] - middle) <= 1.5 * step:
            result[column] = levels[nearest]
    return result


def height_of(hz: float, bands: NDArray[np.floating]) -> float:
    """Where a frequency lies on the mel axis: 0 at the bottom, 1 at the top."""
    return float(np.interp(hz, bands, np.arange(len(bands)) + 0.5) / len(bands))


def _colours(count: int) -> NDArray[np.uint8]:
    """-> [count, 3] RGB."""
    from matplotlib import colormaps  # late: a page without sound draws none

    return colormaps[COLOURS](np.linspace(0.0, 1.0, count), bytes=True)[:, :3]


def _png(indices: NDArray[np.uint8], colours: NDArray[np.uint8]) -> str:
    """[rows, columns] numbers of colours, the one past the last transparent -> a data URI."""
    from PIL import Image  # comes with matplotlib

    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes() + b"\0\0\0")
    stream = io.BytesIO()
    image.save(stream, "png", transparency=len(colours), optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
