"""Pictures that can be trusted by eye: even lightness, white where nothing deviates, grey where nothing was heard."""

import struct
import zlib

import numpy as np
import pytest

from edge_runtime.recorder import pictures


def decoded(file):
    """A palette PNG -> numbers [rows, columns], palette [n, 3]; every checksum looked at."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert struct.unpack(">I", file[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        parts[kind] = data
        at += 12 + length
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    columns, rows, *form = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert form == [8, 3, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:], np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)


def lightness(colours):
    """CIELAB L* of sRGB colours [n, 3], from their definitions."""
    shown = colours / 255.0
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


def test_the_spectrograms_colours_rise_evenly_in_lightness():
    light = lightness(pictures.sequential())
    even = np.linspace(pictures.DARK, pictures.LIGHT, pictures.SHADES)
    assert np.abs(light - even).max() < 0.6  # 8 bits a colour
    assert light[0] < 10 and light[-1] > 90


def test_the_deviations_colours_are_white_in_the_middle_blue_below_and_red_above():
    colours = pictures.diverging()
    middle = len(colours) // 2
    assert colours[middle].min() >= 254
    light = lightness(colours)
    assert (np.diff(light[: middle + 1]) > -0.3).all() and (np.diff(light[middle:]) < 0.3).all()
    assert light[0] == pytest.approx(light[-1], abs=1.0)
    (red, _, blue), (more_red, _, less_blue) = colours[0].astype(int), colours[-1].astype(int)
    assert blue - red > 80 and more_red - less_blue > 80


def test_frequencies_rise_upwards_time_goes_to_the_right_and_louder_is_lighter():
    mel = np.full((40, 128), -80.0, np.float32)
    mel[30:, 100:] = -20.0  # later, and high
    mel[:10, :20] = -50.0
    mel[20] = np.nan
    shown = pictures.scale(mel, 0.032)
    pixels, palette = decoded(pictures.spectrogram(mel, shown))
    assert pixels.shape == (128, 40) and (shown.low_db, shown.high_db) == (-80.0, -20.0)
    light = lightness(palette[pixels])
    assert light[:28, 30:].min() > light[108:, :10].max() > light[108:, 30:].max()
    assert (palette[pixels[:, 20]] == pictures.NOTHING).all()


def test_the_deviation_is_beside_the_normal_spectrum():
    normal = np.linspace(-20, -60, 128).astype(np.float32)
    mel = np.tile(normal, (30, 1))
    mel[:, 64:] += 12.0
    mel[15:, :64] -= 100.0
    pixels, palette = decoded(pictures.deviation(mel, normal, pictures.scale(mel, 0.032)))
    colours = palette[pixels].astype(int)
    assert (colours[64:, :15] >= 254).all()
    assert (colours[:64, :, 0] - colours[:64, :, 2] > 40).all()
    assert (palette[pixels[64:, 15:]] == pictures.diverging()[0]).all()


def test_an_event_that_holds_no_sound_has_a_picture_all_the_same():
    mel = np.full((5, 128), np.nan, np.float32)
    pixels, _ = decoded(pictures.spectrogram(mel, pictures.scale(mel, 0.032)))
    assert pixels.shape == (128, 5) and not pixels.any()
