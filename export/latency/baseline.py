"""Two reports side by side: what got slower, larger or less accurate since the older one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_runtime import config
from edge_runtime.errors import ConfigError
from export.budgets import AUC_LOSS
from export.latency.content import AFTER, FORMAT, TOTAL, Report
from export.page.words import count

WORSE, BETTER, SAME, SHOWN, NOT = "worse", "better", "within tolerance", "shown only", "not comparable"


class Line(msgspec.Struct, frozen=True):
    """One figure of both."""

    name: str
    old: float
    new: float
    ratio: float  # new over old
    verdict: str


class Versus(msgspec.Struct, frozen=True):
    """The comparison."""

    baseline: str  # file
    reasons: list[str]  # why figures of speed are not comparable
    lines: list[Line]

    @property
    def worse(self) -> list[Line]:
        """The regressions."""
        return [line for line in self.lines if line.verdict == WORSE]


class Figure(msgspec.Struct, frozen=True):
    """One number of a report."""

    value: float
    kind: str  # "speed": less is better; "speed, shown": too noisy to judge by; "AUC"


def load(file: Path) -> Report:
    """An older report.json."""
    told = config.load_json(file, dict)
    if told.get("format") != FORMAT:
        raise ConfigError(f"{file}: format {told.get('format')} of a report, wanted {FORMAT}; make it anew")
    return config.load_json(file, Report)


def versus(new: Report, old: Report, file: Path, tolerance: float) -> Versus:
    """Every figure that both have."""
    reasons, ours, theirs = list(differences(new, old)), figures(new), figures(old)
    heard_alike = new.data == old.data
    lines = []
    for name, figure in ours.items():
        if name not in theirs:
            continue
        was = theirs[name].value
        verdict = _verdict(figure, was, tolerance)
        if reasons if figure.kind != "AUC" else not heard_alike:
            verdict = NOT
        lines.append(Line(name, was, figure.value, figure.value / was if was else float("nan"), verdict))
    return Versus(str(file), reasons, lines)


def differences(new: Report, old: Report) -> Iterator[str]:
    """Why the speed of one says nothing about that of the other."""
    for name in ("board", "cpu", "cores", "architecture", "gpu", "power_mode"):
        ours, theirs = getattr(new.device, name), getattr(old.device, name)
        if ours != theirs:
            yield f"another device: {name} {ours or 'not known'}, the baseline's {theirs or 'not known'}"
    if (new.backend, new.form) != (old.backend, old.form):
        yield f"another backend: {new.backend} {new.form}, the baseline's {old.backend} {old.form}"
    for whose, report in (("this run", new), ("the baseline", old)):
        if report.board.throttled:
            yield f"{whose} was throttled: {'; '.join(report.board.throttled)}"


def _verdict(figure: Figure, was: float, tolerance: float) -> str:
    if figure.kind == "AUC":
        change = was - figure.value
        return WORSE if change > AUC_LOSS else BETTER if change < -AUC_LOSS else SAME
    if figure.kind != "speed":
        return SHOWN
    ratio = figure.value / was if was else 1.0
    return WORSE if ratio > 1.0 + tolerance else BETTER if ratio < 1.0 - tolerance else SAME


def figures(report: Report) -> dict[str, Figure]:
    """Every figure that two reports can be compared by."""
    found: dict[str, Figure] = {}
    for load in report.loads:
        machines, after = count(load.machines, "machine"), load.stage(AFTER)
        found[f"{machines}: {AFTER}, p50 ms"] = Figure(after.p50, "speed")
        found[f"{machines}: {AFTER}, p95 ms"] = Figure(after.p95, "speed")
        found[f"{machines}: {AFTER}, p99 ms"] = Figure(after.p99, "speed, shown")
        for stage in load.stages:
            if stage.name not in (AFTER, TOTAL) and not stage.derived:
                found[f"{machines}: {stage.name}, p50 ms"] = Figure(stage.p50, "speed, shown")
        found[f"{machines}: real-time factor"] = Figure(load.real_time_factor, "speed")
    if process := report.process:
        found["process: start to first score, ms"] = Figure(process.first_ms.value, "speed")
        found["process: real-time factor"] = Figure(process.real_time_factor.value, "speed")
        found["process: CPU seconds for a second of sound"] = Figure(process.cpu_s_per_s.value, "speed")
        found["process: resident memory, MiB"] = Figure(process.memory_mib.value, "speed")
    if report.accuracy:
        for name, form in report.accuracy.mean.forms.items():
            found[f"AUC, {name}"] = Figure(form.auc.value, "AUC")
    return found
