"""The log-mel against librosa: greatest difference in dB, and time as a ratio in one run.

    OMP_NUM_THREADS=1 python benchmarks/log_mel.py [--data DATA] [--json]

Difference: librosa in float64, center=False, same filters. Time: the 31 new frames of a hop, computed here when they
arrive, against librosa on the whole window of 311 frames, which is what a hop costs without a stream; one thread each.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import librosa
import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib.clips import index, load
from edge_runtime import features
from edge_runtime.features import LogMel

SPEC = LogMel()


def reference(sound: np.ndarray) -> np.ndarray:
    """librosa's log-mel [frames, n_mels] dB, in float64."""
    mel = librosa.feature.melspectrogram(
        y=sound.astype(np.float64), sr=16_000, n_fft=1024, hop_length=512, center=False, n_mels=128, power=2.0
    )
    return 10.0 * np.log10(np.maximum(mel, 1e-10)).T


def made_up() -> Iterator[tuple[str, np.ndarray]]:
    """Sounds of ten seconds that stress different ends of the scale."""
    time_s = np.arange(160_000) / 16_000
    random = np.random.default_rng(0)
    yield "white noise at -20 dBFS", 0.1 * random.standard_normal(160_000)
    yield "noise in the last bit", np.round(random.standard_normal(160_000)) / 32_768
    yield "tones 20 Hz to 7.9 kHz", sum(0.1 * np.sin(2 * np.pi * f * time_s) for f in (20, 440, 1000, 4321, 7900))
    yield "chirp 0 to 8 kHz", 0.5 * np.sin(2 * np.pi * 400 * time_s**2)
    yield "clicks", (np.arange(160_000) % 4001 == 0).astype(float)
    yield "digital silence", np.zeros(160_000)


def milliseconds(call: Callable[[], object], runs: int) -> float:
    """Median time of a call."""
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def difference(sound: np.ndarray) -> float:
    """Greatest difference from librosa, dB."""
    sound = sound.astype(np.float32)
    return float(np.abs(features.log_mel(sound, SPEC) - reference(sound)).max())


def times() -> tuple[float, float]:
    """Milliseconds (of the new frames here, of librosa on the window)."""
    window = (0.1 * np.random.default_rng(0).standard_normal(features.WINDOW)).astype(np.float32)
    hop = window[: features.samples_of(31, SPEC)]
    ours = milliseconds(lambda: features.log_mel(hop, SPEC), 500)
    theirs = milliseconds(
        lambda: librosa.power_to_db(
            librosa.feature.melspectrogram(y=window, sr=16_000, n_fft=1024, hop_length=512, center=False, n_mels=128)
        ),
        50,
    )
    return ours, theirs


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, action="append", default=[], help="real clips; may be repeated")
    arguments.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    options = arguments.parse_args()
    found = {name: difference(sound) for name, sound in made_up()}
    for folder in options.data:
        clips = index(folder)
        found[f"{folder.name} ({len(clips)} clips)"] = max(difference(load(clip)) for clip in clips)
    ours, theirs = times()
    if options.json:
        print(json.dumps({"difference_db": max(found.values()), "times_as_fast": theirs / ours}))
        return
    print("greatest difference from librosa, dB")
    for name, worst in found.items():
        print(f"  {name:28s} {worst:.2e}")
    print(f"31 new frames here {ours:.3f} ms, librosa on the window {theirs:.3f} ms: {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()
