"""The YAML file of a system: read strictly, changed from the command line, written back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import msgspec
import msgspec.yaml
import yaml

from edge_runtime.config import load_yaml, save_text, yaml_hint
from edge_runtime.errors import ConfigError
from train.models import SYSTEMS
from train.models.base import Config

AnyConfig: Any = Union[tuple(module.Config for module in SYSTEMS.values())]  # noqa: UP007 - told apart by `system`


def load(file: str | Path, changes: Sequence[str] = ()) -> Config:
    """Decode a file and apply changes like `training.epochs=3`, as strictly as if they stood in the file."""
    config: Config = load_yaml(file, AnyConfig)
    if not changes:
        return config.consistent()
    tree = msgspec.to_builtins(config)
    for change in changes:
        _apply(tree, change)
    try:
        changed: Config = msgspec.convert(tree, AnyConfig)
        return changed.consistent()
    except msgspec.ValidationError as error:
        said = str(error)
        raise ConfigError(f"{_blamed(changes, said)}: {said}{yaml_hint(said)}") from None


def save(file: Path, config: Config) -> None:
    """Write every setting, defaults too."""
    save_text(file, yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False))


def system_of(config: Config) -> str:
    """The name that SYSTEMS has it under."""
    return str(config.__struct_config__.tag)


def _apply(tree: dict[str, Any], change: str) -> None:
    """Write one change into the settings, not yet decoded: all of them may be needed to fit one another."""
    place, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"--set {change}: wanted key=value, for example training.epochs=3")
    *parents, name = place.split(".")
    branch = tree
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {change}: {parent} holds a value, not settings; see train/configs")
    try:
        branch[name] = msgspec.yaml.decode(text)
    except (msgspec.MsgspecError, yaml.YAMLError) as error:
        raise ConfigError(f"--set {change}: {error}") from None


def _blamed(changes: Sequence[str], said: str) -> str:
    """The change that an error is about, where it names one; else all."""
    places = [(change, change.partition("=")[0]) for change in changes]
    about = [change for change, place in places if f"`$.{place}" in said or f"`{place.split('.')[-1]}`" in said]
    return " ".join(f"--set {change}" for change in (about[-1:] or changes))
