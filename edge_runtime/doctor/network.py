"""The bundles, and whether this computer scores their windows rightly and in time."""

import time
from collections.abc import Iterator

import numpy as np

from edge_runtime.backends import open_backend
from edge_runtime.bundle import Bundle
from edge_runtime.check import replay
from edge_runtime.doctor import Finding
from edge_runtime.doctor.patient import Patient
from edge_runtime.errors import BackendError
from edge_runtime.features import compute
from edge_runtime.scoring import score

RUNS = 5  # of which the median counts
BUSY, TOO_BUSY = 0.5, 0.9  # of one core


def bundles(patient: Patient) -> Iterator[Finding]:
    """Opened, hashes and all, with the machines that are listened to."""
    if patient.site is None:
        yield Finding("bundle", "ok", "none given: the sound is compared with nothing, and nothing is scored")
        return
    for one in patient.placed:
        words = f"{one.bundle.folder}: as packed; {one.name}: alarm above {one.machine.threshold:.4g}"
        if one.settings.quality.compare:
            yield Finding("bundle", "ok", words)
        else:
            yield Finding("bundle", "ok", f"{words}; the sound is not compared with its normal sound")


def backends(patient: Patient) -> Iterator[Finding]:
    """Each bundle's golden clip, and what all machines together ask of one core."""
    if patient.site is None:
        return
    asked = 0.0
    for bundle in {one.bundle.folder: one.bundle for one in patient.placed}.values():
        wrong = [stage for stage in replay(bundle.folder) if not stage.difference <= stage.tolerance]
        for stage in wrong:
            words = f"{bundle.folder}: {stage.name} differs by {stage.difference:.2g}, {stage.tolerance:g} is allowed"
            yield Finding("backend", "fail", words, "pack the model again on the desktop, with its libraries updated")
        if not wrong:
            yield Finding("backend", "ok", f"{bundle.folder}: the golden clip is scored as on the desktop")
        machines = sum(one.bundle.folder == bundle.folder for one in patient.placed)
        asked += machines * _window_s(bundle) / (bundle.model.hop / bundle.model.sample_rate)
    if patient.placed:
        yield _load(asked, len(patient.placed))
    if patient.site.backend == "tensorrt":
        yield from _engines(patient)


def _load(asked: float, machines: int) -> Finding:
    words = f"{machines} machine{'s take' if machines > 1 else ' takes'} {100 * asked:.1f} % of a core"
    todo = "listen to fewer machines, take a smaller network, or --backend tensorrt"
    if asked > TOO_BUSY:
        return Finding("backend", "fail", words, todo)
    return Finding("backend", "warn", words, todo) if asked > BUSY else Finding("backend", "ok", words)


def _window_s(bundle: Bundle) -> float:
    """Seconds from a window's sound to its score, all frames anew: somewhat more than listening takes."""
    golden = bundle.golden()["sound"]
    machine = bundle.machine(bundle.machines[0])
    backend = open_backend(bundle.network, bundle.model)
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        inputs = {name: compute(golden, spec)[np.newaxis] for name, spec in bundle.model.computed.items()}
        score(backend.run(inputs), machine)
        times.append(time.perf_counter() - began)
    backend.close()
    return float(np.median(times))


def _engines(patient: Patient) -> Iterator[Finding]:
    for folder in {one.bundle.folder for one in patient.placed}:
        try:
            wrong = [stage for stage in replay(folder, "tensorrt") if not stage.difference <= stage.tolerance]
        except BackendError as error:
            todo = "it is built while the CPU listens; or build it now: python export/build_engine.py BUNDLE"
            yield Finding("backend", "warn", f"{folder}: no engine ({error})", todo)
            continue
        if wrong:
            words = f"{folder}: the engine's {wrong[0].name} differs by {wrong[0].difference:.2g}"
            yield Finding("backend", "fail", words, "build it again: python export/build_engine.py BUNDLE")
        else:
            yield Finding("backend", "ok", f"{folder}: the engine decides as the desktop does")
