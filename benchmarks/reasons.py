"""Does the band that a reason names hold the fault? Over all anomalies of a simulated data set, whose truth is known.

    OMP_NUM_THREADS=1 python benchmarks/reasons.py DATA [--detector mel_mean] [--json]

DATA is a folder of train/simulate.py. Normal sound and threshold come from its training clips, with a detector without
a network. The truth of a clip is its fault made again: the third-octave bands that together hold four fifths of the
fault's power. A band that is named hits when it overlaps one of them. Beside it two that know nothing: a band as wide
as the first one named at a random place, and at the loudest. Heard: a third of what sounds in the first one is the
fault, where it is strongest or not. Of pulses: the share of clips for which a rate is named,
and in how many of those it is one of the fault's, the shaft's among them (or a multiple up to 4), within 3 %.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from calib import detectors
from calib.clips import index, load
from calib.collect import collect
from calib.fit import training_clips
from calib.machines import fit_machines
from edge_runtime import features, reason
from edge_runtime.backends import Pooled
from edge_runtime.bundle import Model
from edge_runtime.cli import parser, say
from edge_runtime.features import Floats, LogMel
from edge_runtime.reason import Reason
from edge_runtime.scoring import Machine, score
from train.simulator.clip import Job, layers
from train.simulator.dataset import anomalies
from train.simulator.draw import draw_machine
from train.simulator.faults import Fault, fault_order
from train.simulator.severity import THIRDS_HZ, acting, third_octaves

SPEC = LogMel()
Span = tuple[float, float]  # Hz
WITHIN, MULTIPLES = 0.03, 4


@dataclass(frozen=True)
class Asked:
    """One anomaly, and what was said of it."""

    machine: str
    fault: str
    severity_db: float
    decided: bool  # score above threshold
    named: bool
    first: bool  # the first band that is named overlaps the fault's
    middle: bool  # its middle lies in one
    any: bool  # one of those named does
    heard: bool  # a third of the sound in the first is the fault's, its strongest band or not
    random: float  # the chance that a band as wide does
    loudest: bool  # a band as wide around the loudest does
    fault_hz: float  # strikes a second, 0: none
    pulses: list[float]  # a second, as named
    right: bool  # one of them is the fault's, or the shaft's
    seconds: float  # that it took


class Truth:
    """What is known of an anomaly's fault: it is made again."""

    def __init__(self, job: Job) -> None:
        own, fault = layers(job)
        self.spans = [(THIRDS_HZ[band], THIRDS_HZ[band + 1]) for band in acting(third_octaves(fault))]
        self._powers = [np.cumsum(np.abs(np.fft.rfft(sound)) ** 2) for sound in (own, fault)]
        self._seconds = len(own) / SPEC.sample_rate

    def heard(self, low_hz: float, high_hz: float) -> bool:
        """Whether a third of what sounds in a band is the fault: it is 1.8 dB louder by it."""
        first, last = round(low_hz * self._seconds), min(round(high_hz * self._seconds), len(self._powers[0]) - 1)
        own, fault = (power[last] - power[first] for power in self._powers)
        return bool(fault >= own / 2)


def orders(job: Job) -> list[float]:
    """Rates of its fault per turn of the shaft: what strikes, the shaft or cage that carries it, sub-harmonics."""
    machine = draw_machine(job.machine.machine, job.machine.seed)
    strikes = fault_order(machine, Fault(job.fault, 0.0))
    carries = {"bearing_ball": [machine.bearing.orders()["cage"]], "looseness": [0.5]}.get(job.fault, [])
    return [strikes, 1.0, *carries] if strikes else []


def hits(low: float, high: float, spans: Iterable[Span]) -> bool:
    """Whether a band overlaps any of the spans."""
    return any(low < end and high > start for start, end in spans)


def ask(sound: Floats, known: Machine, model: Model, job: Job, shaft_hz: float) -> Asked:
    """Explain one window and compare it with the truth."""
    sound = sound[: model.window]
    mel = features.log_mel(sound, SPEC)
    outputs = Pooled(model).run(dict.fromkeys(model.computed, mel[np.newaxis]))
    began = time.perf_counter()
    found = reason.explain(mel, sound, known)
    took = time.perf_counter() - began
    truth = Truth(job)
    spans = truth.spans
    edges = [(band.low_hz, band.high_hz) for band in found.bands]
    rates = [shaft_hz * order for order in orders(job)]
    pulses = [band.pulses_hz for band in found.bands if band.pulses_hz]
    return Asked(
        machine=job.machine.machine,
        fault=job.fault,
        severity_db=job.severity_db,
        decided=bool(score(outputs, known)[0] > known.threshold),
        named=bool(edges),
        first=bool(edges) and hits(*edges[0], spans),
        middle=bool(edges) and hits(sum(edges[0]) / 2, sum(edges[0]) / 2, spans),
        heard=bool(edges) and truth.heard(*edges[0]),
        any=any(hits(*edge, spans) for edge in edges),
        random=_chance(found, spans),
        loudest=_loudest(found, mel.mean(axis=0), spans),
        fault_hz=max(rates, default=0.0),
        pulses=pulses,
        right=any(_same(hz, own) for hz in pulses for own in rates),
        seconds=took,
    )


def _width(found: Reason) -> int:
    """Mel bands of the first one named."""
    if not found.bands:
        return 1
    centres = features.mel_frequencies(SPEC)
    return max(1, int(np.sum((centres > found.bands[0].low_hz) & (centres < found.bands[0].high_hz))))


def _places(width: int) -> list[Span]:
    centres = features.mel_frequencies(SPEC)
    between = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [8000.0]])
    return list(zip(between[:-width], between[width:], strict=True))


def _chance(found: Reason, spans: list[Span]) -> float:
    return float(np.mean([hits(*place, spans) for place in _places(_width(found))]))


def _loudest(found: Reason, level: Floats, spans: list[Span]) -> bool:
    width = _width(found)
    sums = np.convolve(level, np.ones(width), mode="valid")
    return hits(*_places(width)[int(np.argmax(sums))], spans)


def _same(hz: float, own: float) -> bool:
    return any(abs(hz - own * multiple) <= WITHIN * own * multiple for multiple in range(1, MULTIPLES + 1))


def all_asked(data: Path, detector: str) -> Iterator[Asked]:
    """Every simulated anomaly."""
    model = detectors.model(detector, features.WINDOW, features.HOP)
    clips = training_clips(data)
    say(f"fitting {len(clips)} normal clips")
    machines = fit_machines(collect(clips, model, Pooled(model)), model.scoring)
    files = {str(clip.path.relative_to(data / "dev_data")): clip for clip in index(data)}
    for job, row in anomalies(data):
        clip = files[row["file_name"]]
        yield ask(load(clip), machines[clip.machine], model, job, float(row["shaft_hz"]))


def _line(name: str, asked: list[Asked]) -> str:
    def share(values: Iterable[float]) -> str:
        kept = list(values)
        return f"{100 * np.mean(kept):9.0f}" if kept else f"{'-':>9}"

    struck = [one for one in asked if one.fault_hz]
    told = [one for one in struck if one.pulses]
    cells = [
        share(one.decided for one in asked),
        share(one.named for one in asked),
        *(
            share(getattr(one, what) for one in asked)
            for what in ("first", "middle", "any", "random", "loudest", "heard")
        ),
        share(bool(one.pulses) for one in struck),
        share(one.right for one in told),
    ]
    return f"{name:24}{len(asked):7}{''.join(cells)}"


def table(asked: list[Asked]) -> Iterator[str]:
    """By fault, by severity, and all; then those alone that the detector decides on."""
    head = ("clips", "decided", "named", "first", "middle", "any", "random", "loudest", "heard", "rate", "right")
    for title, chosen in (("all anomalies", asked), ("score above threshold", [one for one in asked if one.decided])):
        yield f"{title:24}{head[0]:>7}{''.join(f'{word:>9}' for word in head[1:])}   (%)"
        for fault in sorted({one.fault for one in chosen}):
            yield _line(f"  {fault}", [one for one in chosen if one.fault == fault])
        for severity in sorted({one.severity_db for one in chosen}):
            yield _line(f"  severity {severity:+g} dB", [one for one in chosen if one.severity_db == severity])
        yield _line("  all", chosen)
    times = 1e3 * np.array([one.seconds for one in asked])
    yield f"a reason takes {np.median(times):.1f} ms (median), {times.max():.1f} ms at most"


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("data", type=Path, help="simulated data set")
    options.add_argument("--detector", default=detectors.DEFAULT, help=f"of {', '.join(detectors.names())}")
    options.add_argument("--json", action="store_true", help="one JSON object an anomaly")
    given = options.parse_args()
    asked = list(all_asked(given.data, given.detector))
    print(*([json.dumps(vars(one)) for one in asked] if given.json else table(asked)), sep="\n")


if __name__ == "__main__":
    main()
