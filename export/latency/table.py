"""A report as text for the terminal."""

from collections.abc import Iterable, Iterator

from export import compare_table
from export.budgets import Budget
from export.latency.baseline import Versus
from export.latency.board import whole
from export.latency.content import Board, Load, Process, Report, Spread
from export.page.words import count

NOWHERE = "not available here"
REPORTED = "no limit here"  # measured, but the budget is for others
MARKS = {True: "pass", False: "FAIL", None: "not measured here"}


def table(report: Report, versus: Versus | None = None) -> str:
    """Every figure."""
    lines = [
        f"{report.bundle}: {report.name} ({report.system}), {report.backend} {report.form}".rstrip(),
        *device(report),
        "",
    ]
    for load in report.loads:
        lines += [*_load(load, report), ""]
    lines += [*_process(report.process), "", *_board(report.board), "", *_accuracy(report), ""]
    lines += aligned([("budget", "limit", "figure", ""), *(_budget(budget) for budget in report.budgets)])
    return "\n".join([*lines, *(["", *against(versus)] if versus else [])])


def device(report: Report) -> Iterator[str]:
    """Where it was measured."""
    at = report.device
    yield ", ".join(filter(None, [at.board, at.gpu, at.cpu, f"{at.cores} cores", at.architecture, at.system]))
    yield f"power mode {at.power_mode or NOWHERE}; Python {at.python}, " + ", ".join(
        f"{name} {number}" for name, number in at.packages.items()
    )


def _load(load: Load, report: Report) -> list[str]:
    head = f"{count(load.machines, 'machine')}, {load.windows} windows one after the other, ms"
    rows: list[tuple[str, ...]] = [(head, "p50", "p95", "p99", "max", "work a window")]
    for stage in load.stages:
        work = load.work_ms.get(stage.name)
        values = [f"{value:.3f}" for value in (stage.p50, stage.p95, stage.p99, stage.max)]
        rows.append(
            (stage.name + (", derived" if stage.derived else ""), *values, "" if work is None else f"{work:.3f}")
        )
    share = f"{100 * load.cpu_share:.0f} % of that time on the CPU"
    return [*aligned(rows), f"real-time factor of all {load.real_time_factor:.4f}; {share}"]


def _process(process: Process | None) -> list[str]:
    if process is None:
        return [f"listening process: {NOWHERE}"]
    head = f"listening process, {process.sound_s:.0f} s of sound from a file, {count(process.runs, 'run')}"
    rows = [
        (head, "median", "least", "greatest"),
        ("process start to first score, ms", *_spread(process.first_ms, ".0f")),
        ("real-time factor", *_spread(process.real_time_factor, ".4f")),
        ("CPU seconds for a second of sound", *_spread(process.cpu_s_per_s, ".4f")),
        ("resident memory at its peak, MiB", *_spread(process.memory_mib, ".1f")),
    ]
    return aligned(rows)


def _spread(found: Spread, form: str) -> tuple[str, str, str]:
    return (format(found.value, form), format(found.low, form), format(found.high, form))


def board_rows(board: Board) -> list[tuple[str, str]]:
    """(what, figure) of the board's own sensors."""
    feeds = whole(board.watts)
    power = [f"{name} {value:.2f} W" for name, value in board.watts.items()]
    energy = [f"{name} {value:.3f} J" for name, value in board.joules.items() if feeds in (None, name)]
    heat = [f"{name} {value:.1f} °C" for name, value in board.celsius.items()]
    clocks = [f"{name} {low:.0f} to {high:.0f} MHz" for name, (low, high) in board.megahertz.items()]
    return [
        ("power, mean", ", ".join(power) or NOWHERE),
        ("energy a window, all that the rail feeds", ", ".join(energy) or NOWHERE),
        ("temperature, highest", ", ".join(heat) or NOWHERE),
        ("clocks", ", ".join(clocks) or NOWHERE),
        ("throttled", "; ".join(board.throttled) or ("no" if board.megahertz else NOWHERE)),
        ("other load before it began", NOWHERE if board.load is None else f"{board.load:.2f} processes"),
    ]


def _board(board: Board) -> list[str]:
    lines = aligned(board_rows(board))
    if board.throttled:
        lines.append("the clock was held back while this was measured: its times are NOT comparable with others")
    return lines


def _accuracy(report: Report) -> list[str]:
    if report.accuracy:
        return [f"accuracy on {report.data}", *compare_table.forms(report.accuracy)]
    if not report.told:
        return ["accuracy: not measured here; --data DATA measures it, and the bundle says none"]
    return aligned(told(report))


def told(report: Report) -> list[tuple[str, ...]]:
    """What the manifest says, below a header; nothing where it says nothing."""
    rows: list[tuple[str, ...]] = []
    for name, one in report.told.items():
        fp32 = "" if one.auc_fp32 is None else f"{100 * one.auc_fp32:.1f}"
        rank = "" if one.spearman is None else f"{one.spearman:.4f}"
        rows.append((name, f"{100 * one.auc:.1f}", f"{100 * one.pauc:.1f}", fp32, rank))
    header = ("accuracy that the bundle was packed with", "AUC %", "pAUC %", "AUC % of FP32", "Spearman")
    return [header, *rows] if rows else []


def _budget(budget: Budget) -> tuple[str, ...]:
    note = f" ({budget.note})" if budget.note else ""
    mark = REPORTED if budget.figure and budget.passed is None else MARKS[budget.passed]
    return (budget.what, budget.limit, budget.figure or "-", mark + note)


def against(versus: Versus) -> list[str]:
    """The baseline."""
    rows = [(f"against {versus.baseline}", "old", "new", "new/old", "")]
    rows += [(o.name, f"{o.old:.4g}", f"{o.new:.4g}", f"{o.ratio:.3f}", o.verdict) for o in versus.lines]
    return [*aligned(rows), *(f"times are not comparable: {reason}" for reason in versus.reasons)]


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their cells; the first to the left, the rest too."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
