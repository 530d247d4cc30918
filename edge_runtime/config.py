"""Settings: frozen structs with a unit on every field, decoded strictly from YAML or JSON."""

import datetime
import os
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from edge_runtime.errors import ConfigError

T = TypeVar("T")
MISSING_KIND = "missing required field `kind`"


def load_yaml(path: str | Path, kind: type[T]) -> T:
    """Decode a YAML file; an unknown, missing, mistyped or repeated field is an error that names file and field."""
    from edge_runtime import blame, yaml_tree  # late: a listening process that is given a bundle reads no YAML

    def decode(tree: object) -> T:
        return msgspec.convert(tree, kind, builtin_types=(datetime.datetime, datetime.date))  # as of msgspec.yaml

    tree = yaml_tree.load(path, _read(path))
    try:
        return decode(tree)
    except msgspec.ValidationError as error:
        said = str(error)
        hint = "" if MISSING_KIND in said else yaml_hint(said)
        raise ConfigError(f"{path}: {blame.words(tree, kind, said, decode)}{hint}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {blame.whole(tree, str(error), decode)}") from None


def load_json(path: str | Path, kind: type[T]) -> T:
    """Decode a JSON file as strictly."""
    try:
        return msgspec.json.decode(_read(path), type=kind)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from None


def save_json(path: str | Path, value: object) -> None:
    """Write JSON that people can read, whole or not at all."""
    save_text(path, msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def save_text(path: str | Path, text: str) -> None:
    """Write a text, whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(text.encode())
    partial.replace(path)


def cache_folder() -> Path | None:
    """Where what can be made again is kept: AUSCULT_CACHE ("": nowhere), else auscult in XDG_CACHE_HOME or ~/.cache."""
    folder = os.environ.get("AUSCULT_CACHE")
    if folder is None:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auscult"
    return Path(folder).expanduser() if folder else None


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a file that can be read") from None


def yaml_hint(message: str) -> str:
    """What YAML makes of what people write, where that may be the mistake; else nothing."""
    if re.search(r"Expected `[^`]*\bfloat\b[^`]*`[^,]*, got `str`", message):
        return " (YAML reads 1e-3 as text: write 1.0e-3)"
    if re.search(r"Expected `[^`]*\bstr\b[^`]*`, got `int`", message) and "at `key`" not in message:
        return ' (quote it: YAML reads 00 as the number 0, "00" is text)'
    if MISSING_KIND in message:
        return " (say which: kind: nearest, mahalanobis, mixture, probability, network or fusion)"
    return ""
