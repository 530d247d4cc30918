"""The score and decision files of DCASE Task 2, of all years: how they are named and what their rows hold.

    anomaly_score_fan_section_00_test.csv           2022 to 2026, and what this project writes
    anomaly_score_fan_section_03_source_test.csv    2021: a file per domain
    anomaly_score_fan_id_01.csv                     2020: a file per machine ID
    anomaly_score_DCASE2023T2fan_section_00_test_seed13711_id(0_)_Eval.csv    as the baseline of 2023 and later says it
    decision_result_fan_section_00_test.csv         the same names, 1 for a clip held to be anomalous, else 0

A row is `clip name,value`; there is no header. Rows are matched by name, never by order.
"""

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calib import names
from edge_runtime.errors import DataError

SCORES, DECISIONS, TRUTH = "anomaly_score", "decision_result", "ground_truth"  # what a file's name begins with
DOMAINS = ("source", "target")

_FILE = re.compile(
    rf"(?P<kind>{SCORES}|{DECISIONS}|{TRUTH})_(?:DCASE(?P<year>\d{{4}})T2)?(?P<machine_type>.+?)_"
    r"(?P<section>(?:section|id)_\d\d)(?:_(?P<domain>source|target))?(?P<test>_test)?(?:_seed.*)?\.csv"
)
_LABELS = {"normal": 0, "anomaly": 1, "abnormal": 1}


class FileName(NamedTuple):
    """What the name of a score, decision or truth file says."""

    kind: str  # SCORES, DECISIONS or TRUTH
    machine_type: str  # "fan"
    section: str  # "section_03"; 2020: "id_05"
    domain: str  # "source", "target", or "" where the file holds both
    year: int | None  # whose naming it is: 2020, 2021, 2022 (to 2026), or what a baseline wrote; None: any year's


class ClipName(NamedTuple):
    """What the name of a clip says."""

    name: str  # the name that rows are matched by
    section: str  # "" where the name says none
    domain: str  # "source", "target" or ""
    label: int | None  # 0 normal, 1 anomaly


def file_name(kind: str, machine_type: str, section: str, domain: str = "") -> str:
    """The official name: `anomaly_score_fan_section_00_test.csv`; of 2020 for an ID, with a domain that of 2021.

    What has no sections ("") is section_00.
    """
    end = "" if section.startswith("id_") else f"_{domain}_test" if domain else "_test"
    return f"{kind}_{machine_type}_{section or 'section_00'}{end}.csv"


def parse_file_name(name: str) -> FileName | None:
    """What a file's name says; None for a file that is none of the three kinds."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    section, domain = match["section"], match["domain"] or ""
    year = int(match["year"]) if match["year"] else None
    if year is None:
        year = 2020 if section.startswith("id_") else 2021 if domain else 2022 if match["test"] else None
    return FileName(match["kind"], match["machine_type"], section, domain, year)


def parse_clip_name(name: str) -> ClipName:
    """What a clip's name says, of every year; a plain `normal/x.wav` or `anomaly/x.wav` says its label.

    The folders of a DCASE name are left out, and `section_00_test_0000.wav`, as some READMEs have it, becomes
    `section_00_0000.wav`, as the files and their truth have it.
    """
    *folders, base = name.strip().replace("\\", "/").split("/")
    said = names.parse(base)
    if said is None:
        return ClipName("/".join([*folders, base]), "", "", _LABELS.get(folders[-1]) if folders else None)
    if said.split == "test" and not (said.domain or said.label or said.attributes):
        base = f"{said.section}_{said.number}{Path(base).suffix}"
    return ClipName(base, said.section, said.domain or "", _LABELS.get(said.label or ""))


def find_files(folder: Path, kind: str) -> dict[Path, FileName]:
    """The files of one kind in a folder, in the order of their names."""
    found = {}
    for path in sorted(folder.glob(f"{kind}_*.csv")):
        parsed = parse_file_name(path.name)
        if parsed is None:
            raise DataError(f"{path}: not a name this project knows; {file_name(kind, 'fan', 'section_00')} is one")
        found[path] = parsed
    return found


def read_table(path: Path) -> list[list[str]]:
    """The rows of a CSV file without its empty lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give a CSV file that can be read") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file ({error})") from None


def read_values(path: Path, binary: bool = False) -> dict[str, float]:
    """Clip name -> value. `binary`: decisions or labels, 0 or 1, in the last column (some write a score before it).

    A first row that names no clip is a header and left out.
    """
    rows = list(enumerate(read_table(path), 1))
    if rows and not _names_a_clip(rows[0][1]):
        del rows[0]
    values: dict[str, float] = {}
    for number, row in rows:
        if not _names_a_clip(row) or len(row) < 2:
            raise DataError(f"{path}: row {number} is {','.join(row)[:80]!r}, not `clip.wav,value`")
        name = parse_clip_name(row[0]).name
        if name in values:
            raise DataError(f"{path}: row {number} names {name} a second time; a clip has one row")
        values[name] = _number(row[-1] if binary else row[1], binary, f"{path}: {name}")
    if not values:
        raise DataError(f"{path}: holds no rows; a row is `clip.wav,value`")
    return values


def write_scores(path: Path, rows: Iterable[tuple[str, float]]) -> None:
    """Write `name,value` rows in the official form, whole or not at all; integers (decisions) stay integers."""
    written: dict[str, str] = {}
    for name, value in rows:
        if name in written:
            raise DataError(f"{path}: {name} has two rows; a clip has one")
        if not math.isfinite(value):
            raise DataError(f"{path}: {name} has the score {value}; a score is a finite number")
        written[name] = str(int(value)) if isinstance(value, (int, np.integer, np.bool_)) else repr(float(value))
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(written.items())
    partial.replace(path)


def _names_a_clip(row: list[str]) -> bool:
    return row[0].strip().lower().endswith(names.AUDIO)


def _number(text: str, binary: bool, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if binary and value not in (0.0, 1.0):
        raise DataError(f"{place}: {text.strip()!r} where 0 or 1 is wanted")
    if not math.isfinite(value):
        raise DataError(f"{place}: the score {text.strip()!r} is not a finite number")
    return value
