"""A system with a part of it switched off, or changed: `NAME:KEY=VALUE`, several settings apart by `;`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from edge_runtime.errors import ConfigError
from export.bench import registry
from export.bench.trial import digest


class Ablation(NamedTuple):
    """What a row of the table of parts is of."""

    name: str  # of the row
    system: str  # that a part is taken from
    changes: list[str]  # KEY=VALUE


def read(words: Sequence[str], systems: Sequence[str]) -> list[Ablation]:
    """`--ablate` -> ablations; each is of a system that is benchmarked too, to be compared with."""
    found = [_read(word, systems) for word in words]
    if twice := [one.name for one in found if found.count(one) > 1]:
        raise ConfigError(f"--ablate {twice[0]}: given twice")
    return found


def _read(word: str, systems: Sequence[str]) -> Ablation:
    system, change = registry.split(word)
    if not system or not change.strip():
        raise ConfigError(f"--ablate {word}: wanted NAME:KEY=VALUE, for example tfap_edge:mixup=none")
    if system not in systems:
        raise ConfigError(f"--ablate {word}: {system} is not benchmarked; add it to --systems ({', '.join(systems)})")
    changes = [part.strip() for part in change.split(";") if part.strip()]
    if any(one.startswith("training.seed") for one in changes):
        raise ConfigError(f"--ablate {word}: --seeds N trains seeds 0 to N-1")
    return Ablation(f"{system} {' '.join(changes)}", system, changes)


def file_name(name: str) -> str:
    """A row's name as the name of a folder: another for every name, and of no more than 100 characters."""
    plain = re.sub(r"[^\w.=-]+", "_", name).strip("_")
    return plain if plain == name else f"{plain[:80]}-{digest(name)}"
