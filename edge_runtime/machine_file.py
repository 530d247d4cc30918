"""A machine in a file: its references, thresholds and normal spectra as arrays, its words as JSON. No pickle."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime import migrate
from edge_runtime.errors import BundleError
from edge_runtime.migrate import FORMAT
from edge_runtime.scoring import FITTED, Machine, Scoring, parts

AGAIN, COPY = "enrol the machine (calib/enroll.py)", "copy the bundle again"
ENROL = "enrol it again: calib/enroll.py BUNDLE --data DATA --out FILE"
ZIP = b"PK"  # how an npz file begins


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    """What of a machine is neither array nor scoring."""

    name: str
    threshold: float
    promise: str


def save_machine(file: Path, machine: Machine, model_hash: str = "") -> None:
    """One machine as arrays; words and settings as JSON in an array of bytes.

    `model_hash`: of the bundle (`Bundle.model_hash`) that a machine is enrolled for, where it lies beside it.
    """
    fields = {name: getattr(machine, name) for name in machine.__struct_fields__ if name != "fitted"}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    settings = {name: value for name, value in fields.items() if name not in arrays}
    settings |= {"format": FORMAT} | ({"model_hash": model_hash} if model_hash else {})
    for number, fitted in enumerate(machine.fitted):
        arrays |= {f"part{number}.{name}": getattr(fitted, name) for name in fitted.__struct_fields__}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(file, {**arrays, "settings": np.frombuffer(msgspec.json.encode(settings), np.uint8)})


def load_machine(file: Path, model_hash: str = "") -> Machine:
    """What `save_machine` wrote for that bundle; without a hash, a machine of the bundle itself."""
    again = AGAIN if model_hash else COPY
    arrays = load_arrays(file, "a machine's file", f"{AGAIN} or give another path" if model_hash else COPY)
    try:
        settings = msgspec.json.decode(arrays.pop("settings").tobytes())
        if settings.pop("model_hash", "") != model_hash:
            raise BundleError(f"{file}: not enrolled with this bundle; {ENROL}")
        settings, arrays = migrate.machine(settings, arrays)
        scoring: Scoring = msgspec.convert(settings.pop("scoring"), Scoring)
        fitted = [FITTED[type(part)](**_part(arrays, number)) for number, part in enumerate(parts(scoring))]
        rest = {name: array for name, array in arrays.items() if not name.startswith("part")}
        fields: dict[str, Any] = {**msgspec.to_builtins(msgspec.convert(settings, _Words)), **rest}
        machine = Machine(**fields, scoring=scoring, fitted=fitted)
    except (KeyError, TypeError, msgspec.MsgspecError) as error:
        raise BundleError(f"{file}: not a machine of this format ({error}); {again}") from None
    if not np.isfinite(machine.threshold):
        raise BundleError(f"{file}: its threshold is {machine.threshold}, which no score is above; {again}")
    return machine


def _part(arrays: dict[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    start = f"part{number}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def save_arrays(file: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """An npz file, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    partial.replace(file)


def load_arrays(file: Path, kind: str = "an npz file", todo: str = COPY) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file; nothing in it is ever executed. `kind`, `todo`: what is wanted, and what to do then."""
    try:
        with file.open("rb") as stream:
            if stream.read(len(ZIP)) != ZIP:
                raise BundleError(f"{file}: not {kind}; {todo}")
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror or error}; {todo}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{file}: {error}; {todo}") from None
