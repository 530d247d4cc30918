"""The YAML file of a system: read strictly, changed from the command line, written back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import msgspec
import msgspec.yaml
import yaml

from edge_runtime.config import load_yaml
from edge_runtime.errors import ConfigError
from train.models import SYSTEMS
from train.models.base import Config

AnyConfig: Any = Union[tuple(module.Config for module in SYSTEMS.values())]  # noqa: UP007 - told apart by `system`


def load(file: str | Path, changes: Sequence[str] = ()) -> Config:
    """Decode a file and apply changes like `training.epochs=3`, as strictly as if they stood in the file."""
    config: Config = load_yaml(file, AnyConfig)
    for change in changes:
        config = _changed(config, change)
    return config


def save(file: Path, config: Config) -> None:
    """Write every setting, defaults too."""
    file.write_text(yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False))


def system_of(config: Config) -> str:
    """The name that SYSTEMS has it under."""
    return str(config.__struct_config__.tag)


def _changed(config: Config, change: str) -> Config:
    place, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"--set {change}: wanted key=value, for example training.epochs=3")
    tree = msgspec.to_builtins(config)
    *parents, name = place.split(".")
    branch = tree
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {change}: {parent} holds a value, not settings; see train/configs")
    try:
        branch[name] = msgspec.yaml.decode(text)
        return msgspec.convert(tree, AnyConfig)
    except (msgspec.MsgspecError, yaml.YAMLError) as error:
        raise ConfigError(f"--set {change}: {error}") from None
