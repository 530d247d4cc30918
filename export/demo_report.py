"""What the demo found: result.json, the table on the terminal, and the report page."""

from pathlib import Path

import msgspec
import numpy as np

from calib.bootstrap import Interval
from calib.clips import Clip
from edge_runtime.bundle import Bundle
from edge_runtime.sound import read_blocks
from export import compare, listening_report
from export.page.runs import outcome, read_events


class Heard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine's stream, listened to."""

    machine: str
    files: list[str]
    events: str  # file
    fault_at_s: float  # seconds of sound
    seconds_to_alarm: float | None  # from the fault; None: no alarm came
    false_alarms: int  # before the fault

    @classmethod
    def from_events(cls, machine: str, files: list[str], fault_at_s: float, events: Path) -> "Heard":
        """Read the outcome off the listening process's own events."""
        seconds, false = outcome(read_events(events, machine), fault_at_s)
        return cls(machine, files, str(events), fault_at_s, seconds, false)


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the demo measured."""

    data: str
    seconds: float  # that the demo took
    accuracy: compare.Comparison
    heard: list[Heard]


def table(result: Result) -> str:
    """The figures of each machine: percent, with 95 % bootstrap intervals; seconds from fault to alarm."""
    heard = {one.machine: one for one in result.heard}
    rows = [("machine", "system", "AUC %", "pAUC %", "fault to alarm", "false alarms")]
    for row in result.accuracy.machines:
        one = heard.get(row.machine)
        end = ("", "") if one is None else (_seconds(one.seconds_to_alarm), str(one.false_alarms))
        for number, (system, figures) in enumerate(row.systems.items()):
            last = end if number == 0 else ("", "")
            rows.append((row.machine if number == 0 else "", system, _cell(figures.auc), _cell(figures.pauc), *last))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _seconds(value: float | None) -> str:
    return "no alarm" if value is None else f"{value:.0f} s"


def _cell(found: Interval) -> str:
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def write_page(out: Path, bundle: Bundle, clips: list[Clip], result: Result) -> None:
    """OUT/report.html."""
    page = listening_report.Page(
        title="auscult: from recordings to an alarm",
        facts=_facts(bundle, clips, result),
        table=[_row(row, {one.machine: one for one in result.heard}) for row in result.accuracy.machines],
        listening=[_listening(bundle, one) for one in result.heard],
    )
    listening_report.write_report(out / "report.html", page)


def _facts(bundle: Bundle, clips: list[Clip], result: Result) -> listening_report.Facts:
    simulated = (Path(result.data) / "simulation.json").exists()
    return msgspec.structs.replace(
        listening_report.facts(bundle, "make demo" if simulated else f"make demo DATA={result.data}"),
        data=f"{result.data}, {len(clips)} clips" + (", simulated" if simulated else ""),
    )


def _row(row: compare.Row, heard: dict[str, Heard]) -> listening_report.Row:
    one = heard.get(row.machine)
    return listening_report.Row(
        machine=row.machine,
        methods=[listening_report.Method(system, figures.auc, figures.pauc) for system, figures in row.systems.items()],
        train_clips=row.train,
        test_normal=row.normal,
        test_anomaly=row.anomalous,
        gain=row.gain.auc if row.gain else None,
        gain_pauc=row.gain.pauc if row.gain else None,
        int8_change=row.int8_change.auc if row.int8_change else None,
        spearman=row.spearman,
        listened=one is not None,
        seconds_to_alarm=one.seconds_to_alarm if one else None,
        false_alarms=one.false_alarms if one else None,
    )


def _listening(bundle: Bundle, one: Heard) -> listening_report.Listening:
    machine, rate = bundle.machine(one.machine), bundle.model.sample_rate
    events = read_events(Path(one.events), machine.name)
    return listening_report.Listening(
        machine=one.machine,
        threshold=machine.threshold,
        promise=machine.promise,
        events=events,
        fault_at_s=one.fault_at_s,
        audio=np.concatenate([block for file in one.files for block in read_blocks(Path(file), rate, 0, 10.0)]),
        seconds_to_alarm=one.seconds_to_alarm,
        false_alarms=one.false_alarms,
    )
