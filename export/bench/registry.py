"""Everything that a benchmark can list: the systems of train/configs and the detectors of calib/configs."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from calib import detectors
from edge_runtime.bundle import Model
from edge_runtime.errors import ConfigError
from train import settings
from train.models.base import Config

CONFIGS = Path(__file__).resolve().parents[2] / "train" / "configs"
CLASSES = 41  # of a network whose cost is printed without data: its last layer depends on them
NETWORK, DETECTOR = "network", "detector"


class Listed(msgspec.Struct, frozen=True):
    """A system or a detector, and what a window of 311 frames costs it."""

    name: str
    kind: str  # NETWORK, or DETECTOR: nothing is trained
    title: str
    parameters: int | None  # None: a package that would tell is not installed
    macs: int | None  # multiply-accumulates
    flops: int | None  # 2 a multiply-accumulate


def systems() -> list[str]:
    """The systems that are trained."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def chosen(words: Sequence[str]) -> list[str]:
    """What `--systems` says, separated by commas or spaces -> names of systems, in the order of the registry."""
    known = systems()
    if not any(word.replace(",", " ").split() for word in words):
        raise ConfigError(f"--systems: none is named; there is all, {', '.join(known)}")
    asked = {name for word in words for name in word.replace(",", " ").split()}
    if asked == {"all"}:
        return known
    detectors_too = detectors.names()
    if strange := sorted(asked - set(known) - set(detectors_too)):
        raise ConfigError(
            f"--systems {', '.join(strange)}: no such system; there is all, {', '.join(known)} "
            f"(and always, beside them: {', '.join(detectors_too)})"
        )
    return [name for name in known if name in asked]


def title(name: str) -> str:
    """The first statement of a system's YAML file, or a detector's title."""
    if name in detectors.names():
        return detectors.load(name).title
    first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return re.split(r"[:.](?:\s|$)", first.lstrip("# "))[0] if first.startswith("#") else name


def load(name: str, changes: Sequence[str]) -> Config:
    """A system's settings with changes like `KEY=VALUE` (of every system) and `NAME:KEY=VALUE` (of one)."""
    own = []
    for change in changes:
        system, key = split(change)
        if system in ("", name):
            own.append(key)
    return settings.load(CONFIGS / f"{name}.yaml", own)


def split(change: str) -> tuple[str, str]:
    """`NAME:KEY=VALUE` -> (name, "KEY=VALUE"); without a name ("", change)."""
    system, colon, _ = change.partition("=")[0].partition(":")
    return (system, change[len(system) + 1 :]) if colon else ("", change)


def model(name: str, config: Config, classes: int) -> Model:
    """A system's untrained network: what it takes, gives and costs."""
    from train.run_folder import untrained  # late: its libraries take seconds

    return untrained(name, config, classes)


def listing() -> list[Listed]:
    """Every system and every detector, with its cost at its default settings."""
    found = []
    for name in systems():
        try:
            cost = model(name, load(name, ()), CLASSES)
            found.append(Listed(name, NETWORK, title(name), cost.parameters, cost.macs, 2 * cost.macs))
        except ConfigError as error:  # of a package that is an extra
            found.append(Listed(name, NETWORK, f"{title(name)} ({error})", None, None, None))
    return found + [Listed(name, DETECTOR, title(name), 0, 0, 0) for name in detectors.names()]
