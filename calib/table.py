"""The tables that the official DCASE Task 2 evaluators print, from the figures of every section."""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from calib.bootstrap import Interval
from calib.official import DOMAINS

Row = Sequence[object]

EPSILON = sys.float_info.epsilon
NAMES = ("AUC", "pAUC", "precision", "recall", "F1 score")
ALL = "AUC (all)"  # printed from 2022 on, in no mean


class Figure(NamedTuple):
    """One number of one section."""

    machine_type: str
    section: str  # "section_03"; 2020: "id_05"
    domain: str  # "" for both domains together
    name: str  # of NAMES, or ALL
    value: float | None  # None: there are no decisions to judge

    @property
    def column(self) -> str:
        """The heading in a table that has a row per section."""
        return f"{self.name} ({self.domain})" if self.domain else self.name


@dataclass(frozen=True)
class Report:
    """What there is to say of a team's folder."""

    year: int  # whose conventions
    figures: list[Figure]
    official_score: float
    interval: Interval | None  # of the official score, 95 %

    @property
    def machine_types(self) -> list[str]:
        """The machine types, in the order of the table."""
        return list(dict.fromkeys(figure.machine_type for figure in self.figures))

    def of(self, machine_type: str) -> list[Figure]:
        """The figures of one machine type."""
        return [figure for figure in self.figures if figure.machine_type == machine_type]


def harmonic_mean(values: Sequence[float] | np.ndarray) -> float:
    """[k] -> their harmonic mean, each floored at the float epsilon as the evaluators do."""
    return float(harmonic_means(np.asarray(values)))


def harmonic_means(values: np.ndarray) -> np.ndarray:
    """[k, ...] -> [...], the harmonic mean over k."""
    return 1.0 / np.mean(1.0 / np.maximum(values.astype(np.float64), EPSILON), axis=0)


def arithmetic_mean(values: Sequence[float] | np.ndarray) -> float:
    """[k] -> their mean."""
    return float(np.mean(values))


# Which mean, over the figures of which domains ("" is of both). The evaluators print the first four; 2020 has one.
MEANS: dict[str, tuple[Callable[[Sequence[float]], float], tuple[str, ...]]] = {
    "arithmetic mean": (arithmetic_mean, ("", "source", "target")),
    "harmonic mean": (harmonic_mean, ("", "source", "target")),
    "source harmonic mean": (harmonic_mean, ("", "source")),
    "target harmonic mean": (harmonic_mean, ("", "target")),
    "source arithmetic mean": (arithmetic_mean, ("", "source")),
    "target arithmetic mean": (arithmetic_mean, ("", "target")),
}
PRINTED = tuple(MEANS)[:4]


def means(figures: Sequence[Figure], kind: str) -> dict[str, float | None]:
    """Name -> its mean; None where a figure is lacking."""
    function, domains = MEANS[kind]
    result: dict[str, float | None] = {}
    for name in NAMES:
        values = [figure.value for figure in figures if figure.name == name and figure.domain in domains]
        known = [value for value in values if value is not None]
        result[name] = function(known) if known and len(known) == len(values) else None
    return result


def means_over_all(report: Report, kind: str) -> dict[str, float | None]:
    """The same over all machine types; 2020: the mean of their means, since IDs differ in number."""
    if report.year != 2020:
        return means(report.figures, kind)
    by_type = [means(report.of(machine_type), kind) for machine_type in report.machine_types]
    rows = [Figure("", "", "", name, of_type[name]) for of_type in by_type for name in NAMES]
    return means(rows, kind)


def as_csv(report: Report) -> str:
    """The evaluator's table. Absent figures are empty cells; numbers have all their digits."""
    kinds, over = PRINTED, "all machine types, sections, and domains"
    if report.year == 2020:
        kinds, over = PRINTED[:1], "all machine types"
    blank = [] if report.year == 2020 else [""]
    rows: list[Row] = []
    for machine_type in report.machine_types:
        figures = report.of(machine_type)
        rows += [[machine_type], *_section_rows(report.year, figures)]
        rows += [["", "", *NAMES]] if report.year >= 2022 else []
        rows += [[kind, *blank, *means(figures, kind).values()] for kind in kinds] + [[]]
    rows.append(["", *blank, *NAMES])
    rows += [[f"{kind} over {over}", *blank, *means_over_all(report, kind).values()] for kind in kinds] + [[]]
    if report.interval:
        rows.append(["official score 95 % interval", *blank, report.interval.low, report.interval.high])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_json(report: Report) -> dict[str, object]:
    """The same, and arithmetic means per domain, for machines to read."""
    sections: dict[tuple[str, str], dict[str, object]] = {}
    for figure in report.figures:
        row = sections.setdefault(figure[:2], {"machine_type": figure.machine_type, "section": figure.section})
        row[figure.column] = figure.value
    kinds = tuple(MEANS)[:1] if report.year == 2020 else tuple(MEANS)
    return {
        "year": report.year,
        "sections": list(sections.values()),
        "means": {
            machine_type: {kind: means(report.of(machine_type), kind) for kind in kinds}
            for machine_type in report.machine_types
        },
        "means_over_all": {kind: means_over_all(report, kind) for kind in kinds},
        "official_score": report.official_score,
        "official_score_interval": report.interval and [report.interval.low, report.interval.high],
    }


def _section_rows(year: int, figures: Sequence[Figure]) -> list[Row]:
    """A row per section; 2021: per domain and section."""
    value = {(figure.section, figure.column): figure.value for figure in figures}
    number = {figure.section: figure.section.rpartition("_")[2] for figure in figures}
    if year == 2020:
        body = [(n, *(value[s, name] for name in NAMES)) for s, n in number.items()]
        return [("id", *NAMES), *body]
    if year == 2021:
        body = [(n, d, *(value[s, f"{name} ({d})"] for name in NAMES)) for d in DOMAINS for s, n in number.items()]
        return [("section", "domain", *NAMES), *body]
    columns = [ALL, "AUC (source)", "AUC (target)", "pAUC"]
    columns += [f"{name} ({domain})" for name in NAMES[2:] for domain in DOMAINS]
    return [("section", *columns), *((n, *(value[s, column] for column in columns)) for s, n in number.items())]
