"""The clips that a benchmark is made with, and short hashes that say which they were."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from calib.clips import Clip, check, index
from calib.fit import few_targets
from export.compare import comparable, labelled


@dataclass(frozen=True)
class Trial:
    """The clips of the machines that everything is judged on."""

    train: list[Clip]
    test: list[Clip]
    year: int  # whose conventions the figures follow

    @property
    def machines(self) -> list[str]:
        """Names, sorted."""
        return sorted({clip.machine for clip in self.test})


def trial(data: Path, target_clips: int | None) -> Trial:
    """The machines of a data set that can be fitted and judged."""
    known = index(data)
    normal = [clip for clip in known if clip.trains]
    if target_clips is not None:
        normal = few_targets(normal, target_clips)
    test = [clip for clip in known if labelled(clip)]
    names = set(comparable([*normal, *test], {}))
    train = [clip for clip in normal if clip.machine in names]
    test = [clip for clip in test if clip.machine in names]
    check([*train, *test])
    return Trial(train, test, year(test))


def year(test: Sequence[Clip]) -> int:
    """2023 where every machine has normal clips of both domains and every clip says its own, else 2020."""
    normal = {(clip.machine, clip.domain) for clip in test if clip.label == "normal"}
    both = all((clip.machine, domain) in normal for clip in test for domain in ("source", "target"))
    return 2023 if both and all(clip.domain for clip in test) else 2020


def digest(*what: Any) -> str:
    """A short hash of anything that can be written as JSON."""
    return hashlib.sha256(msgspec.json.encode(what, enc_hook=str, order="sorted")).hexdigest()[:10]


def identity(clips: Iterable[Clip]) -> list[tuple[str, int]]:
    """Which clips these are, wherever the data set lies: what is known of each, and its size in bytes."""
    return [
        (f"{c.machine}/{c.split}/{c.domain}/{c.attributes}/{c.label}/{c.name}", c.path.stat().st_size) for c in clips
    ]
