"""Pictures of an event without axes: its spectrogram, and how it deviates from the nearest normal sound. PNG.

One column a frame to the right, one row a mel band upwards. 8 bits a pixel with a palette of its own; colour 0 is grey:
no sound was there. The colours are computed: in CIELAB (CIE 15, D65) their lightness rises evenly.
"""

import math
import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_runtime.features import Doubles, Floats
from edge_runtime.recorder.event import Pictures

Colours = NDArray[np.uint8]
NOTHING = (128, 128, 128)  # the colour of sound that is missing
SHADES = 255  # the others
DARK, LIGHT = 6.0, 96.0  # lightness of the ends of the spectrogram's colours; 0 is black, 100 white
HUES = (285.0, 455.0)  # degrees: from violet over red to yellow
CHROMA = 75.0  # at most; less where the screen has no such colour
BLUE, RED, EDGE = 270.0, 30.0, 35.0  # hues of the deviation's ends, and the lightness of both
STEP_DB = 5.0  # to which the range of a spectrogram is rounded
RANGE_DB = 80.0  # of a spectrogram, at most
MOST_DB = 24.0  # of a deviation
PIECE, CHUNK = 256, 16  # columns, and rows to compress, at once: the loop that listens waits for no whole picture


def scale(mel: Floats, column_s: float) -> Pictures:
    """The colours' range for [columns, n_mels] dB; NaN where no sound was."""
    heard = mel[np.isfinite(mel[:, 0])]
    if not len(heard):
        return Pictures(-100.0, -20.0, MOST_DB, column_s)
    quiet, loud = np.quantile(heard[:: max(1, len(heard) // 500)], [0.01, 0.999])
    low, high = STEP_DB * math.floor(quiet / STEP_DB), STEP_DB * math.ceil(loud / STEP_DB)
    return Pictures(max(low, high - RANGE_DB), max(high, low + STEP_DB), MOST_DB, column_s)


def spectrogram(mel: Floats, shown: Pictures) -> bytes:
    """[columns, n_mels] dB -> PNG."""
    return png(_shades(mel, shown.low_db, shown.high_db), np.concatenate([[NOTHING], sequential()]))


def deviation(mel: Floats, normal: Floats, shown: Pictures) -> bytes:
    """[columns, n_mels] and the nearest normal spectrum [n_mels], dB -> PNG, white where they agree."""
    return png(_shades(mel, -shown.most_db, shown.most_db, normal), np.concatenate([[NOTHING], diverging()]))


def _shades(mel: Floats, low: float, high: float, normal: Floats | float = 0.0) -> Colours:
    """[columns, n_mels] above normal -> numbers of colours [n_mels, columns], the highest band first."""
    found: Colours = np.zeros(mel.shape, np.uint8)
    for at in range(0, len(mel), PIECE):
        place = (mel[at : at + PIECE] - normal - np.float32(low)) * np.float32((SHADES - 1) / (high - low))
        shades = 1.0 + np.clip(np.rint(place), 0, SHADES - 1)
        found[at : at + PIECE] = np.where(np.isfinite(shades), shades, 0.0)
    return found.T[::-1]


def png(pixels: Colours, palette: Colours) -> bytes:
    """Numbers [rows, columns] of the palette's colours [n, 3] -> a PNG file (ISO/IEC 15948)."""
    rows, columns = pixels.shape
    squeeze = zlib.compressobj(6)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels], axis=1)  # a line begins with its filter: none
    data = [squeeze.compress(lines[at : at + CHUNK].tobytes()) for at in range(0, rows, CHUNK)]
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"IDAT", b"".join([*data, squeeze.flush()])),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in (*parts, (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(maxsize=1)
def sequential() -> Colours:
    """[SHADES, 3] sRGB of a spectrogram, quiet to loud."""
    share = np.linspace(0.0, 1.0, SHADES)
    return _in_gamut(DARK + (LIGHT - DARK) * share, HUES[0] + (HUES[1] - HUES[0]) * share)


@lru_cache(maxsize=1)
def diverging() -> Colours:
    """[SHADES, 3] sRGB of a deviation: blue below normal, white, red above it."""
    away = np.linspace(-1.0, 1.0, SHADES)
    return _in_gamut(100.0 - (100.0 - EDGE) * np.abs(away), np.where(away < 0.0, BLUE, RED))


def _in_gamut(lightness: Doubles, hue: Doubles) -> Colours:
    """The most colourful that a screen has of that lightness and hue (degrees), up to CHROMA."""
    low, high = np.zeros_like(lightness), np.full_like(lightness, CHROMA)
    for _ in range(20):
        middle = (low + high) / 2
        linear = _linear(lightness, middle, hue)
        fits = ((linear >= 0.0) & (linear <= 1.0)).all(axis=1)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    linear = np.clip(_linear(lightness, low, hue), 0.0, 1.0)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * shown).astype(np.uint8)


def _linear(lightness: Doubles, chroma: Doubles, hue: Doubles) -> Doubles:
    """CIELAB -> linear sRGB [n, 3], under D65."""
    angle = np.radians(hue)
    y = (lightness + 16.0) / 116.0
    cubes = np.stack([y + chroma * np.cos(angle) / 500.0, y, y - chroma * np.sin(angle) / 200.0], axis=1)
    xyz = np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * WHITE
    linear: Doubles = xyz @ TO_RGB.T
    return linear


WHITE = np.array([0.95047, 1.0, 1.08883])
TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])  # IEC 61966-2-1
