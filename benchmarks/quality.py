"""How often is sound called unfit that is not, and how often is a microphone's fault noticed?

    OMP_NUM_THREADS=1 python benchmarks/quality.py DATA [DATA ...] [--features FOLDER] [--every 10] [--json]

Normal spectra come from a machine's training clips; with fewer than 20 of them, from its other normal clips. Then its
test clips are judged as they are, and as faults of the microphone would have left the normal ones: another gain,
covered (low-pass at 1 kHz, 15 dB quieter), another machine's microphone, silence, a stuck buffer of 32 ms, 30 dB too
loud, an offset of 0.2. The faults of a simulated data set's machines are made again, far stronger than in its clips:
they are to be scored, and no microphone blamed. A clip is one window. --features: the folder of MIMII's fan features
(64 bands), for the comparison with normal alone, on thousands of real clips.
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from scipy import signal

from calib.clips import Clip, index, load
from calib.references import centroids
from edge_runtime import quality
from edge_runtime.cli import parser, say
from edge_runtime.features import Doubles, Floats, LogMel, log_mel
from edge_runtime.quality import Quality, QualitySettings
from edge_runtime.scoring import Machine, Nearest
from train.simulator.clip import layers
from train.simulator.dataset import anomalies

FEWEST = 20  # training clips that normal spectra are made from
SEVERE_DB = (10, 20, 30)
GAINS_DB = (12, 6, -6, -12, -20)
LOW_PASS = signal.butter(4, 1000, output="sos", fs=16_000)
Counts = dict[tuple[str, str], Counter[str]]  # (label, what happened) -> "fit", or the faults in a row


def recorded(sound: Doubles) -> Floats:
    """As 16 bits hold it."""
    return (np.round(np.clip(sound, -1, 32_767 / 32_768) * 32_768) / 32_768).astype(np.float32)


def faults_of_microphones(sound: Floats, other: Floats | None) -> Iterator[tuple[str, Floats]]:
    """What happened, and the sound that is left of it."""
    for gain_db in GAINS_DB:
        yield f"gain {gain_db:+d} dB", recorded(sound * 10 ** (gain_db / 20))
    yield "covered", recorded(signal.sosfilt(LOW_PASS, sound) * 10 ** (-15 / 20))
    if other is not None:
        yield "another machine", other
    yield "silence", np.zeros_like(sound)
    stuck = sound.copy()
    stuck[len(sound) // 2 :] = np.resize(sound[:512], len(sound) - len(sound) // 2)
    yield "stuck", stuck
    yield "gain +30 dB", recorded(sound * 10 ** (30 / 20))
    yield "offset 0.2", recorded(sound + 0.2)


def machine(name: str, mels: Floats) -> Machine:
    """What is known of a machine whose normal clips have these mean log-mels [clips, n_mels]."""
    spectra = centroids(mels.astype(np.float64), 16, 0).astype(np.float32)
    one, none = np.zeros(1), np.zeros(0, np.float32)
    level, spread = mels.mean(axis=0), mels.std(axis=0)
    return Machine(name, Nearest(), [], one, one, 0.0, "", none, level, spread, spectra, spread)


class Judged:
    """The windows of one data set."""

    def __init__(self) -> None:
        self.counts: Counts = defaultdict(Counter)
        self.flagged: list[str] = []
        self.seconds: list[float] = []

    def add(self, label: str, what: str, found: Quality, clip: str) -> None:
        """Count a window."""
        words = "noted: " if found.fit else "unfit: "
        self.counts[label, what][words + ", ".join(found.faults) if found.faults else "fit"] += 1
        if what == "as is" and found.faults:
            self.flagged.append(f"{label} {clip}: {words}{found.why}")

    def judge(self, label: str, what: str, sound: Floats, known: Machine, clip: str) -> None:
        """Judge and count one."""
        mel = log_mel(sound, LogMel()).mean(axis=0)
        began = time.perf_counter()
        found = quality.judge(sound, mel, known)
        self.seconds.append(time.perf_counter() - began)
        self.add(label, what, found, clip)


def of_data(root: Path, every: int) -> Judged:
    """Every test clip as it is, and every so many normal ones with every fault."""
    judged, clips, machines = Judged(), index(root), {}
    names = sorted({clip.machine for clip in clips})
    own = {name: [clip for clip in clips if clip.machine == name] for name in names}
    for number, name in enumerate(names):
        trained = [clip for clip in own[name] if clip.trains]
        normal = trained if len(trained) >= FEWEST else [clip for clip in own[name] if clip.label == "normal"]
        if len(normal) < 3:
            say(f"{name}: {len(normal)} normal clips, left out")
            continue
        mels = np.stack([log_mel(load(clip), LogMel()).mean(axis=0) for clip in normal])
        whole = machines[name] = machine(name, mels)
        tested = [clip for clip in own[name] if clip not in trained or normal is not trained]
        others = own[names[number - 1]] if len(names) > 1 else []
        for count, clip in enumerate(tested):
            rest = np.array([other is not clip for other in normal])
            known = whole if rest.all() else machine(name, mels[rest])
            _judge_clip(judged, clip, known, others[count % len(others)] if others else None, count % every == 0)
    if (root / "simulation.json").is_file():
        severe(judged, root, machines, every)
    return judged


def _judge_clip(judged: Judged, clip: Clip, known: Machine, other: Clip | None, faulty: bool) -> None:
    sound, label = load(clip), clip.label or "unknown"
    judged.judge(label, "as is", sound, known, clip.path.name)
    if faulty and label == "normal":
        for what, left in faults_of_microphones(sound, None if other is None else load(other)):
            judged.judge(label, what, left, known, clip.path.name)


def severe(judged: Judged, root: Path, machines: dict[str, Machine], every: int) -> None:
    """A simulated data set's faults, so many decibels above the machine."""
    files = {str(clip.path.relative_to(root / "dev_data")): clip for clip in index(root)}
    for job, row in islice(anomalies(root), 0, None, every):
        clip, (own, fault) = files[row["file_name"]], layers(job)
        heard = load(clip)
        gain = np.dot(heard, own + fault) / np.dot(own + fault, own + fault)
        for severity_db in SEVERE_DB:
            sound = own + fault * 10 ** ((severity_db - job.severity_db) / 20)
            judged.judge("anomaly", f"fault {severity_db:+d} dB", recorded(gain * sound), machines[clip.machine], "")


def of_features(file: Path) -> Judged:
    """MIMII's fan clips by their 64 band means (log10 of power), the first half of the normal ones for the spectra."""
    judged, limits = Judged(), QualitySettings()
    with np.load(file) as stored:
        bands = [number for number, name in enumerate(stored["columns"]) if name.startswith("logmel_mu")]
        mels, labels = 10.0 * stored["X"][:, bands].astype(np.float32), stored["label"]
    normal = np.flatnonzero(labels == "normal")
    spectra = machine("fan", mels[normal[: len(normal) // 2]]).normal_spectra
    for number in [*normal[len(normal) // 2 :], *np.flatnonzero(labels == "anomaly")]:
        for what, shift in [("as is", 0.0), *((f"gain {gain:+d} dB", float(gain)) for gain in GAINS_DB)]:
            if shift and labels[number] == "anomaly":
                continue
            found = quality.compare(mels[number] + np.float32(shift), spectra, limits)
            judged.add(str(labels[number]), what, Quality(None, 0.0, 0.0, found), f"{file.stem} {number}")
    return judged


def table(name: str, judged: Judged) -> Iterator[str]:
    """A line for each label and happening."""
    yield name + (f"   {1e3 * np.median(judged.seconds):.2f} ms a window" if judged.seconds else "")
    for (label, what), counts in sorted(judged.counts.items(), key=lambda item: (item[0][1] != "as is", item[0])):
        total = counts.total()
        shares = "   ".join(f"{words} {count} ({100 * count / total:.1f} %)" for words, count in counts.most_common())
        yield f"  {label:8} {what:16} {total:5}   {shares}"


def main() -> None:
    """Print a table for each data set."""
    options = parser(__doc__)
    options.add_argument("data", type=Path, nargs="*", help="data sets")
    options.add_argument("--features", type=Path, metavar="FOLDER", help="MIMII's fan features")
    options.add_argument("--every", type=int, default=1, help="of so many normal test clips one gets the faults")
    options.add_argument("--json", action="store_true", help="the counts as JSON")
    given = options.parse_args()
    found = {str(root): of_data(root, given.every) for root in given.data}
    files = sorted(given.features.glob("*.npz")) if given.features else []
    found |= {file.stem: of_features(file) for file in files}
    if given.json:
        print(json.dumps({name: {" ".join(key): one.counts[key] for key in one.counts} for name, one in found.items()}))
        return
    for name, judged in found.items():
        print(*table(name, judged), *(f"    {line}" for line in judged.flagged[:20]), sep="\n")
        if len(judged.flagged) > 20:
            print(f"    and {len(judged.flagged) - 20} more")


if __name__ == "__main__":
    main()
