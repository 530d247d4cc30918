"""What is in a data set, and which of its files cannot be used.

    python calib/clips.py DATA              every clip counted and opened
    python calib/clips.py DATA --quick      counted, not opened
    python calib/clips.py DATA --json

DATA is a DCASE Task 2 data set of 2020 to 2026, or a plain folder with normal/ and anomaly/ (docs/data.md).
Exit code 0: every file can be used; 1: some cannot, each is named; 2: no known layout.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec
import numpy as np

from calib import audio, layouts
from calib.audio import SAMPLE_RATE, Sound
from calib.layouts import Clip
from calib.names import parse
from edge_runtime.cli import parser, run_command, say
from edge_runtime.errors import AudioError, DataError

NAMED = 3  # problem files in one line of error
HEADER = ("machine", "section", "domain", "split", "label", "clips", "seconds", "channels")


class Problem(msgspec.Struct, frozen=True):
    """A file that cannot be used, and why."""

    path: Path
    reason: str


class Row(msgspec.Struct, frozen=True):
    """One line of the census: the clips of one machine that share domain, split and label."""

    machine_type: str
    section: str
    domain: str | None
    split: str
    label: str | None
    clips: int
    seconds: tuple[float, float] | None = None  # shortest and longest; None where none was opened
    channels: tuple[int, ...] = ()


class Census(msgspec.Struct, frozen=True):
    """A data set in figures."""

    data: str
    clips: int
    opened: bool
    rows: list[Row]
    problems: list[Problem]


def index(root: str | Path) -> list[Clip]:
    """Every clip of a data set, sorted by machine, split and name; names are read, no sound is opened."""
    return layouts.scan(Path(root))[0]


def select(
    clips: Iterable[Clip],
    *,
    machine: str | None = None,
    split: str | None = None,
    label: str | None = None,
    domain: str | None = None,
) -> list[Clip]:
    """The clips that agree with all that is asked; `machine` is a machine ("fan_section_00") or a type ("fan")."""
    return [
        clip
        for clip in clips
        if (machine is None or machine in (clip.machine, clip.machine_type))
        and (split is None or clip.split == split)
        and (label is None or clip.label == label)
        and (domain is None or clip.domain == domain)
    ]


def training(clips: Iterable[Clip]) -> list[Clip]:
    """The normal training clips."""
    return [clip for clip in clips if clip.trains]


def load(clip: Clip | str | Path, channel: int = 0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A clip -> [samples] float32 re full scale, one channel (stereo of 2026: 0 near the machine, 1 far from it)."""
    return audio.read(clip.path if isinstance(clip, Clip) else Path(clip), channel, sample_rate)


def problems(clips: Iterable[Clip], sample_rate: int = SAMPLE_RATE, workers: int | None = None) -> list[Problem]:
    """Read every clip to its end -> those that cannot be used, in the order given."""
    return [found for found in _opened(clips, sample_rate, workers) if isinstance(found, Problem)]


def check(clips: Iterable[Clip], sample_rate: int = SAMPLE_RATE) -> None:
    """Refuse clips that cannot be used, by name."""
    clips = list(clips)
    if bad := problems(clips, sample_rate):
        named = ", ".join(f"{problem.path.name} ({problem.reason.split(';')[0]})" for problem in bad[:NAMED])
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        command = f"python calib/clips.py {layouts.data_folder(clips)}"
        raise DataError(f"{len(bad)} of {len(clips)} clips cannot be used: {named}{more}; `{command}` names every one")


def census(root: str | Path, opened: bool = True, sample_rate: int = SAMPLE_RATE) -> Census:
    """Count a data set's clips and, unless told otherwise, open each."""
    clips, strangers = layouts.scan(Path(root))
    found = [Problem(path, "a name of no known form, not counted; rename or remove it") for path in strangers]
    sounds: list[Sound | Problem | None] = [None] * len(clips)
    if opened:
        say(f"opening {len(clips)} clips")
        sounds = list(_opened(clips, sample_rate))
        found += [sound for sound in sounds if isinstance(sound, Problem)]
    else:
        found += [Problem(clip.path, reason) for clip in clips if (reason := _misplaced(clip))]
    return Census(str(root), len(clips), opened, _rows(clips, sounds), found)


def _opened(clips: Iterable[Clip], sample_rate: int, workers: int | None = None) -> list[Sound | Problem]:
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:  # libsndfile needs no interpreter lock
        return list(pool.map(lambda clip: _open(clip, sample_rate), clips))


def _open(clip: Clip, sample_rate: int) -> Sound | Problem:
    if reason := _misplaced(clip):
        return Problem(clip.path, reason)
    try:
        return audio.measure(clip.path, sample_rate)
    except AudioError as error:
        return Problem(clip.path, str(error).removeprefix(f"{clip.path}: "))


def _misplaced(clip: Clip) -> str:
    """Why a clip cannot be where it is, or nothing."""
    name = parse(clip.name)
    if name and name.section == clip.section and name.split not in (None, clip.split):
        return f"in {clip.path.parent.name}/, but its name says {name.split}; move it"
    if clip.split == "train" and clip.label == "anomaly":
        return "an anomaly among the training clips; move it"
    return ""


def _rows(clips: list[Clip], sounds: Sequence[Sound | Problem | None]) -> list[Row]:
    groups: dict[tuple[int | str, ...], list[tuple[Clip, Sound | Problem | None]]] = {}
    for clip, sound in zip(clips, sounds, strict=True):
        groups.setdefault(_order(clip), []).append((clip, sound))
    return [_row(groups[key]) for key in sorted(groups)]


def _order(clip: Clip) -> tuple[int | str, ...]:
    """Train before test, source before target, normal before anomaly."""
    split = ("train", "test", "supplemental").index(clip.split)
    label = ("normal", "anomaly", None).index(clip.label)
    return clip.machine_type, clip.section, split, clip.domain or "", label


def _row(members: list[tuple[Clip, Sound | Problem | None]]) -> Row:
    clip = members[0][0]
    heard = [sound for _, sound in members if isinstance(sound, Sound)]
    lengths = [sound.seconds for sound in heard]
    seconds = (min(lengths), max(lengths)) if heard else None
    channels = tuple(sorted({sound.channels for sound in heard}))
    return Row(clip.machine_type, clip.section, clip.domain, clip.split, clip.label, len(members), seconds, channels)


def _table(found: Census) -> str:
    """Aligned columns, a total, and a line for every problem."""
    lines = [HEADER, *map(_cells, found.rows), ("total", "", "", "", "", str(found.clips), "", "")]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    table = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    return "\n".join(table + [f"{problem.path}: {problem.reason}" for problem in found.problems])


def _aligned(line: Sequence[str], widths: list[int]) -> list[str]:
    return [
        text.rjust(width) if HEADER[column] == "clips" else text.ljust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    ]


def _cells(row: Row) -> tuple[str, ...]:
    ends = sorted({f"{length:.1f}" for length in row.seconds or ()}, key=float)
    channels = "/".join(map(str, row.channels))
    words = (row.machine_type, row.section, row.domain, row.split, row.label)
    return (*(word or "-" for word in words), str(row.clips), "-".join(ends) or "-", channels or "-")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the census; 1 where a file cannot be used."""
    arguments = parser(__doc__)
    arguments.add_argument("data", metavar="DATA", help="the data set's folder")
    arguments.add_argument("--quick", action="store_true", help="open no sound")
    arguments.add_argument("--json", action="store_true", help="the same as JSON")
    options = arguments.parse_args(argv)
    found = census(options.data, opened=not options.quick)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found, enc_hook=str)).decode())
    else:
        print(_table(found))
    if found.problems:
        say(f"{len(found.problems)} files cannot be used")
    return 1 if found.problems else 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
