"""A comparison as text: a block of lines for each machine, then a table of the forms."""

from collections.abc import Iterator

from calib.bootstrap import Interval
from export.compare import Comparison, Row
from export.figures import Figures, Rate, Share
from export.judged import Form
from export.networks import Network

HEADER = (
    *("form", "references", "cosine", "noise", "Spearman, FP32 own, same", "AUC %", "pAUC %"),
    *("normal windows above %", "clips above %", "alarms a day", "KiB", "ms, p95"),
)


def table(found: Comparison) -> str:
    """Percent with intervals; the means last."""
    rows = [*found.machines, *([found.mean] if len(found.machines) > 1 else [])]
    return "\n".join([line for row in rows for line in _block(row)] + ["", *forms(found)])


def _block(row: Row) -> Iterator[str]:
    yield f"{row.machine}: {row.train} clips to fit, {row.normal} normal and {row.anomalous} anomalous to test"
    for name, figures in row.systems.items():
        yield _line(name, figures, ".1f")
    if row.int8_change:
        yield _line("  INT8 - FP32", row.int8_change, "+.1f")
    if row.gain:
        yield _line("  network - no network", row.gain, "+.1f")
    if row.spearman is not None:
        yield f"  {'Spearman, INT8 and FP32':24} {row.spearman:.4f}"


def _line(name: str, figures: Figures, form: str) -> str:
    def cell(what: str, found: Interval) -> str:
        value, low, high = (format(100 * figure, form) for figure in (found.value, found.low, found.high))
        return f"{what} {value:>5} [{low}, {high}]"

    return f"  {name:24} {cell('AUC', figures.auc):26} {cell('pAUC', figures.pauc)}".rstrip()


def forms(found: Comparison) -> list[str]:
    """Every form that a device may run, over all machines: lines of a table."""
    rows = [HEADER, *lines(found.mean, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*text, "references the bundle's: fitted with what the bundle listens with on the CPU"]


def lines(row: Row, found: Comparison) -> list[tuple[str, ...]]:
    """The cells of each form, for one machine or all."""
    return [_cells(name, form, found.networks) for name, form in row.forms.items()]


def _cells(name: str, form: Form, networks: dict[str, Network]) -> tuple[str, ...]:
    network = networks.get(name) or networks.get(name.partition(",")[0])  # FP32 with own references is the same network
    cost: tuple[str, ...] = ("-", "-", "-", "-")
    if network:
        error = ["-" if value is None else f"{value:.5f}" for value in (network.cosine, network.noise)]
        cost = (*error, f"{network.bytes / 1024:.0f}", f"{network.milliseconds:.2f}, {network.milliseconds_p95:.2f}")
    rank = ", ".join("-" if value is None else f"{value:.4f}" for value in (form.spearman, form.spearman_same))
    accuracy = [f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]" for one in (form.auc, form.pauc)]
    false = (share(form.false_windows), share(form.false_clips), rate(form.false_alarms))
    return (name, form.references, *cost[:2], rank, *accuracy, *false, *cost[2:])


def share(found: Share) -> str:
    """Per cent: 1.2 [0.1, 4.3]."""
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def rate(found: Rate) -> str:
    """A day: 2.1 [0.3, 7.7]; where there was none, what it is at most."""
    if not found.count:
        return f"0 in {found.hours:.1f} h [at most {found.high:.0f}]"
    return f"{found.per_day:.1f} [{found.low:.1f}, {found.high:.1f}]"
