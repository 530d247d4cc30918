"""Does an engine decide as the bundle does? Its golden clip, run by the engine, beside what was recorded.

References and thresholds were fitted with the CPU's INT8 network. An engine of another form (S8S8, FP16, FP32) rounds
in another way, so that its scores differ a little; its decisions must not.
"""

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends import Arrays, Backend, Pooled
from edge_runtime.bundle import Bundle
from edge_runtime.check import SCORE_TOLERANCE, Stage
from edge_runtime.errors import BackendError
from edge_runtime.scoring import Machine, score

OUTPUT_TOLERANCE = 0.5  # of its length: other rounding stays far below, a wrong layout or a dead layer goes far beyond
WARM_UP, RUNS = 10, 100  # windows


class DecisionError(BackendError):
    """An engine that decides otherwise than the bundle it was built from."""


def replay(bundle: Bundle, network: Backend, windows: int = 1) -> Iterator[Stage]:
    """Each output and each machine's decision; the clip fills `windows` windows of one batch, each must hold."""
    golden = bundle.golden()
    outputs = Pooled(bundle.model, network).run(golden_inputs(bundle, windows))
    for name, found in outputs.items():
        yield Stage(f"output {name}", _distance(found, golden[f"output.{name}"]), OUTPUT_TOLERANCE)
    for name in bundle.machines:
        machine = bundle.machine(name)
        far = _overturned(score(outputs, machine), golden[f"score.{name}"], machine)
        yield Stage(f"decision on {name}", far, SCORE_TOLERANCE[True])


def proved(bundle: Bundle, network: Backend, windows: int = 1) -> str:
    """In words, that the engine decides as recorded, for one window and for as many as it takes; or an error."""
    for count in sorted({1, windows}):
        for stage in replay(bundle, network, count):
            if not stage.difference <= stage.tolerance:
                raise DecisionError(
                    f"the engine's {stage.name} differs from the golden clip's by {stage.difference:.2g} with {count} "
                    f"windows at once, {stage.tolerance:g} is allowed; it is not installed, try another --precision"
                )
    return f"golden clip decided as recorded for {len(bundle.machines)} machines"


def milliseconds(bundle: Bundle, network: Backend) -> float:
    """Median time of one window, copies included."""
    inputs, times = golden_inputs(bundle), []
    for number in range(WARM_UP + RUNS):
        started = time.perf_counter()
        network.run(inputs)
        if number >= WARM_UP:
            times.append(time.perf_counter() - started)
    return round(1000 * float(np.median(times)), 4)


def golden_inputs(bundle: Bundle, windows: int = 1) -> Arrays:
    """The inputs of the golden clip, [windows, ...], as often as asked."""
    golden = bundle.golden()
    return {name: np.stack([golden[f"input.{name}"]] * windows) for name in bundle.model.computed}


def _distance(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Of the furthest window, over the length of what was recorded."""
    if found.shape[1:] != wanted.shape[1:] or not np.isfinite(found).all():
        return float("inf")
    apart = (found - wanted).reshape(len(found), -1)
    return float(np.linalg.norm(apart, axis=1).max()) / max(float(np.linalg.norm(wanted)), 1e-12)


def _overturned(found: NDArray[np.floating], wanted: NDArray[np.floating], machine: Machine) -> float:
    """How far from the threshold a decision was that is now another; 0 where none is."""
    if not np.isfinite(found).all():
        return float("inf")
    other = (found > machine.threshold) != (wanted > machine.threshold)
    scale = max(abs(machine.threshold), float(np.abs(wanted).max()), 1e-12)
    return float(np.abs(wanted - machine.threshold).max()) / scale if other.any() else 0.0
