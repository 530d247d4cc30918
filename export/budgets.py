"""The project's budgets: what a bundle may cost, and whether it keeps to that."""

from collections.abc import Iterator

import msgspec

from edge_runtime.bundle import Accuracy, Model

PARAMETERS = 5_400_000
MACS = 800_000_000  # multiply-accumulates a window: 1.6 GFLOPs, one is two
AUC_LOSS, SPEARMAN = 0.005, 0.98  # of INT8 against FP32
FACTOR = {"file": 0.015, "live": 0.035}  # real-time factor of a network of at most MACS, INT8, one core
MEMORY_MIB = {"file": 90.0, "live": 115.0}  # resident, of the listening process on the CPU
TIMES_AS_FAST, DIFFERENCE_DB = 10.0, 1e-3  # the log-mel against librosa
FIRST_MS = 300.0  # process start to first score from a WAV file, imports included
# TranSelf-DyGCN is as large as its paper says, which most likely counts multiply-accumulates as FLOPs.
TRANSELF, TRANSELF_PARAMETERS, TRANSELF_MACS = "tranself", round(1.02 * PARAMETERS), 2 * MACS


class Mel(msgspec.Struct, frozen=True):
    """What benchmarks/log_mel.py says of the log-mel."""

    difference_db: float  # greatest, from librosa in float64
    times_as_fast: float  # a hop's new frames, as librosa on the whole window


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the table."""

    what: str
    limit: str
    figure: str  # "" where it was not measured
    passed: bool | None  # None: not measured here
    note: str = ""


def of_model(model: Model) -> Iterator[Budget]:
    """Parameters and operations."""
    own = model.system == TRANSELF
    parameters, macs = (TRANSELF_PARAMETERS, TRANSELF_MACS) if own else (PARAMETERS, MACS)
    limit = f"at most {1e-6 * PARAMETERS:.1f} M" + (" within 2 %" if own else "")
    yield Budget("parameters", limit, f"{model.parameters:,}", model.parameters <= parameters)
    figure = f"{1e-9 * model.macs:.3f} G multiply-accumulates, {2e-9 * model.macs:.3f} GFLOPs"
    limit = f"at most {1e-9 * macs:.1f} G multiply-accumulates, {2e-9 * macs:.1f} GFLOPs"
    yield Budget("operations a window", limit, figure, model.macs <= macs)


def of_accuracy(accuracy: dict[str, Accuracy]) -> Iterator[Budget]:
    """INT8 against FP32, machine by machine."""
    for name, found in accuracy.items():
        if found.auc_fp32 is not None:
            loss = found.auc_fp32 - found.auc
            limit = f"at most {AUC_LOSS}"
            yield Budget(f"{name}: AUC that INT8 costs", limit, f"{loss:.4f}", loss <= AUC_LOSS)
        if found.spearman is not None:
            kept = found.spearman >= SPEARMAN
            yield Budget(f"{name}: Spearman of INT8 and FP32", f"at least {SPEARMAN}", f"{found.spearman:.4f}", kept)


def of_speed(
    model: Model, factor: dict[str, float], memory_mib: float | None, first_ms: float | None
) -> Iterator[Budget]:
    """What one core takes: real-time factors "file" and "live", resident memory, the first score."""
    for pace, limit in FACTOR.items():
        note = "live: blocks of a microphone's size from memory, no sound card" if pace == "live" else ""
        budget = _at_most(f"real-time factor, {pace}", factor.get(pace), limit, "", ".4f", note)
        if model.macs > MACS:
            budget = msgspec.structs.replace(budget, passed=None, note="for networks of at most 1.6 GFLOPs a window")
        yield budget
    yield _at_most("resident memory, file", memory_mib, MEMORY_MIB["file"], " MiB", ".1f")
    yield _at_most("resident memory, live", None, MEMORY_MIB["live"], " MiB", ".1f", "needs a microphone")
    yield _at_most("process start to first score, file", first_ms, FIRST_MS, " ms", ".0f")
    yield Budget("process start to first score, live", "the window plus 0.5 s", "", None, "needs a microphone")


def _at_most(what: str, value: float | None, limit: float, unit: str, form: str, note: str = "") -> Budget:
    figure = "" if value is None else f"{value:{form}}{unit}"
    return Budget(what, f"at most {limit:g}{unit}", figure, None if value is None else value <= limit, note)


def of_project(mel: Mel | None) -> Iterator[Budget]:
    """What no bundle changes."""
    note = "" if mel else "--log-mel measures it, where librosa is installed"
    quick, passed = (f"{mel.times_as_fast:.1f} times", mel.times_as_fast >= TIMES_AS_FAST) if mel else ("", None)
    limit = f"at least {TIMES_AS_FAST:g} times as fast"
    yield Budget("log-mel of a hop against librosa on the window", limit, quick, passed, note)
    difference = mel.difference_db if mel else None
    yield _at_most("log-mel less librosa's in float64", difference, DIFFERENCE_DB, " dB", ".1e", note)
    microphone = "tests/edge_runtime/test_microphone.py tries it with a sound card that is simulated"
    yield Budget("unplugged microphone is noticed", "within 0.5 s", "", None, microphone)
    yield Budget("listening again after its return", "within 3 s", "", None, "needs a microphone")


def over(model: Model, accuracy: dict[str, Accuracy]) -> Iterator[str]:
    """What does not keep its budget, in words."""
    for budget in (*of_model(model), *of_accuracy(accuracy)):
        if budget.passed is False:
            yield f"{budget.what}: {budget.figure}, the budget is {budget.limit}"
