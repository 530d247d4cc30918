"""An event folder without a recorder: what the page needs of one, in the form of `edge_runtime/recorder/event.py`."""

import contextlib
import sqlite3
import struct
import zlib

import msgspec
import numpy as np
import soundfile

from edge_runtime.journal.schema import FILE
from edge_runtime.reason import Band, Reason
from edge_runtime.recorder import event as events
from tests.conftest import hum

ID = "20261121T190256Z-fan"
TIME = "2026-11-21T19:02:56+00:00"
WORDS = "1.9-2.3 kHz, 14 dB above normal, in pulses 8 per second"
RATE = 16_000


def png(path, wide=200, tall=128, seed=0):
    """A picture of [tall, wide] levels, with its palette."""
    random = np.random.default_rng(seed)
    levels = np.linspace(20, 70, tall)[:, None] + random.integers(0, 25, (tall, wide))
    levels[60:70, wide // 3 :] += 60
    colours = np.linspace((10, 0, 40), (255, 240, 180), 96).astype(np.uint8)
    rows = b"".join(b"\0" + row.astype(np.uint8).clip(0, 95).tobytes() for row in levels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", wide, tall, 8, 3, 0, 0, 0)),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def make(state, name=ID, machine="fan", privacy="sound", seconds=12.0, time=TIME):
    """The folder, and its row in the journal where there is one."""
    folder = state / events.EVENTS / name
    folder.mkdir(parents=True)
    if privacy == "sound":
        sound = hum(seconds)
        sound[RATE * 4 :] += 0.2 * hum(seconds - 4, pitch=2100.0)
        soundfile.write(folder / events.SOUND, sound, RATE, subtype="PCM_16")
        soundfile.write(folder / events.NORMAL, hum(6.0, seed=3), RATE, subtype="PCM_16")
    png(folder / events.SPECTROGRAM)
    png(folder / events.DEVIATION, seed=1)
    windows = [
        events.EventWindow(end - 1.0, end, 3.0 + 15.0 * (end > 4.5), end > 4.5, -22.5, [])
        for end in np.arange(1.0, seconds, 0.5).tolist()
    ]
    (folder / events.WINDOWS).write_bytes(msgspec.json.encode(windows))
    times = {"seconds": seconds, "since_s": 4.5, "alarm_s": 6.0, "returned_s": None}
    sounds = {"sample_rate": RATE, "privacy": privacy, "normal_db": 2.5, "score": 18.0, "threshold": 12.0}
    manifest = events.Event(
        format=events.FORMAT,
        id=name,
        site="pump house",
        machine=machine,
        kind="anomaly",
        level="alarm",
        state="whole",
        time=time,
        clock="",
        reason=Reason(WORDS, [Band(1900.0, 2300.0, 14.0, 8.0)]),
        bundle="fan.bundle",
        model_hash="0123456789abcdef",
        pictures=events.Pictures(-80.0, -20.0, 24.0, seconds / 200),
        **times,
        **sounds,
    )
    (folder / events.MANIFEST).write_bytes(msgspec.json.encode(manifest))
    row = (name, machine, "anomaly", "alarm", time, "", 18.0, WORDS, seconds, 400_000)
    if (state / FILE).exists():
        with contextlib.closing(sqlite3.connect(state / FILE, timeout=5, isolation_level=None)) as db:
            db.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(row))})", row)
    return folder
