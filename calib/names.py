"""What a file name of a DCASE Task 2 data set says (2020 to 2026), and what the CSV files beside it add.

    normal_id_01_00000000                            2020; an evaluation clip is id_01_00000000
    section_00_source_train_normal_0000_vel_4_loc_A  2021 on; only the section and the number are always there
    section_00_0000, section_00_test_0000            evaluation clips, domain and label hidden
    section_00_source_normal_0035_weight15_BckgF     labels published later, without `_test_`
    section_00_machine_0001_                         supplemental clips: the machine alone, or (`noise`) its background

Attributes are kept as they stand: their keys may hold `-` or `_`, and some have no key at all.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_runtime.errors import DataError

AUDIO = (".wav", ".flac")
_2020 = re.compile(r"(?:(?P<label>normal|anomaly)_)?(?P<section>id_\d\d)_(?P<number>\d+)")
_2021 = re.compile(
    r"(?P<section>section_\d\d)(?:_(?P<domain>source|target))?(?:_(?P<split>train|test))?"
    r"(?:_(?P<label>normal|anomaly))?_(?P<number>\d+)(?:_(?P<attributes>.*))?"
)
_SUPPLEMENTAL = re.compile(r"(?P<section>section_\d\d)_(?P<words>(?:[a-z]+_)+)(?P<number>\d+)(?:_(?P<attributes>.*))?")

Key = tuple[str, str, str | None, str | None, str]


class Name(msgspec.Struct, frozen=True):
    """The parts of a name; None where it does not say."""

    section: str  # "section_00", "id_01"
    number: str  # "0000"
    domain: str | None = None  # "source" | "target"
    split: str | None = None  # "train" | "test" | "supplemental"
    label: str | None = None  # "normal" | "anomaly"
    attributes: str = ""  # "vel_4_loc_A"; of a supplemental clip "machine" or "noise" first

    @property
    def key(self) -> Key:
        """The same for every spelling of one clip: evaluation names come with and without `_test_`."""
        return self.section, self.split or "test", self.domain, self.label, self.number


def stem(name: str) -> str:
    """File name without folders and without .wav or .flac; other dots belong to the name (`volt_1.7`)."""
    name = name.strip().replace("\\", "/").rsplit("/", 1)[-1]
    head, dot, tail = name.rpartition(".")
    return head if f"{dot}{tail}".lower() in AUDIO else name


def parse(name: str) -> Name | None:
    """The parts of a file name, or None where it is of no known form."""
    text = stem(name)
    if found := _2020.fullmatch(text):
        return Name(found["section"], found["number"], label=found["label"])
    if found := _2021.fullmatch(text):
        attributes = shown(found["attributes"])
        return Name(found["section"], found["number"], found["domain"], found["split"], found["label"], attributes)
    if found := _SUPPLEMENTAL.fullmatch(text):
        return _supplemental(found)
    return None


def shown(attributes: str | None) -> str:
    """The raw attributes; "" where they are missing or hidden (`noAttribute`)."""
    text = (attributes or "").strip("_ ")
    return "" if text.lower() == "noattribute" else text


def _supplemental(found: re.Match[str]) -> Name:
    words = found["words"].split("_")
    domain = next((word for word in words if word in ("source", "target")), None)
    kind = next((word for word in words if word in ("machine", "noise")), "")
    label = "normal" if kind == "machine" else None
    attributes = "_".join(filter(None, [kind, shown(found["attributes"])]))
    return Name(found["section"], found["number"], domain, "supplemental", label, attributes)


def read_facts(path: Path, machine_type: str) -> dict[Key, Name]:
    """Domain, label and attributes that a CSV file gives for the clips of one machine type.

    Read are `attributes_00.csv` (a header, then name, key, value, key, value, … or a last column with the full name),
    the evaluators' `ground_truth_*.csv` (name and 0 or 1, or name and full name) and `eval_data_list*.csv` (the same
    under a line for each machine type).
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file that can be read ({error}); copy it again or take it away") from None
    said: dict[Key, Name] = {}
    for name, row in _rows_of(rows, machine_type):
        said[name.key] = _said(name, row, domains="domain" in path.parent.name)
    return said


def _rows_of(rows: list[list[str]], machine_type: str) -> Iterator[tuple[Name, list[str]]]:
    heading = machine_type
    for row in rows:
        if len(row) == 1:
            heading = row[0].strip()
        elif row and heading == machine_type and (name := parse(row[0])):
            yield name, [cell.strip() for cell in row[1:]]


def _said(name: Name, cells: list[str], domains: bool) -> Name:
    full = next((said for cell in cells if (said := parse(cell)) and said.label), None)
    if full:
        return full
    if len(cells) == 1 and cells[0] in ("0", "1"):
        if domains:
            return Name(name.section, name.number, domain=("source", "target")[int(cells[0])])
        return Name(name.section, name.number, label=("normal", "anomaly")[int(cells[0])])
    return Name(name.section, name.number, attributes="_".join(filter(None, map(shown, cells))))


def fill(name: Name, said: Name | None) -> Name:
    """`name` with what it leaves open taken from `said`."""
    if said is None:
        return name
    return Name(
        name.section,
        name.number,
        name.domain or said.domain,
        name.split,
        name.label or said.label,
        name.attributes or said.attributes,
    )
