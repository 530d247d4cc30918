"""What people remove by hand: events, or what of them can be played."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from edge_runtime.errors import DataError
from edge_runtime.journal import lock
from edge_runtime.machine_file import load_arrays
from edge_runtime.recorder import ages, disk, event, folder, normals
from edge_runtime.recorder.draft import AVERAGED, averaged, seen
from edge_runtime.recorder.event import Event


class Purged(msgspec.Struct, frozen=True):
    """A line for each thing."""

    removed: list[str]
    left: list[str]  # and why


def purge(state: Path, ids: Iterable[str], before_s: float | None, sound: bool, marked: bool) -> Purged:
    """Events of these names, or events and normal sounds of before that time (UTC seconds).

    `sound`: the sound alone, of all where none is named. `marked`: marked ones, too.
    """
    listens, since = lock.holder(state) is not None, ages.known(state)
    removed: list[str] = []
    left: list[str] = []
    named = [event.folder_of(state, one) for one in ids]
    every = sound and not named and before_s is None
    for place in named or event.folders(state):
        found = disk.standing(place)
        if found is None:
            if named:  # it cannot be read
                removed.append(_removed(place, False))
            continue
        utc_s = since.get(place.name, found[0].utc_s)
        if not (named or every or _older(utc_s, before_s)) or (sound and not _plays(place)):
            continue
        if found[0].marked and not marked:
            left.append(f"{place.name}: marked; with --marked it goes, too")
        elif found[0].state == "open" and listens:
            left.append(f"{place.name}: it goes on; try again when it is over")
        elif utc_s is None and not (named or every):
            left.append(f"{place.name}: its clock was {found[1].clock or 'wrong'}, nobody knows its age; name it")
        else:
            removed.append(_removed(place, sound))
    if every or (before_s is not None and not named):
        _purge_normals(state, before_s, removed, left)
    return Purged(removed, left)


def _purge_normals(state: Path, before_s: float | None, removed: list[str], left: list[str]) -> None:
    """Of before that time, or all of them; a listener that keeps sound writes new ones."""
    since = ages.known(state)
    for file, (name, own_s) in normals.times(state).items():
        utc_s = since.get(name, own_s)
        words = f"normal sound {file.relative_to(state / normals.FOLDER)}"
        if before_s is not None and utc_s is None:
            left.append(f"{words}: nobody knows its age; --sound without --older-than removes it")
        elif before_s is None or _older(utc_s, before_s):
            file.unlink(missing_ok=True)
            removed.append(f"{words}: removed")
    _clear(state / normals.FOLDER)


def _removed(place: Path, sound: bool) -> str:
    if not sound:
        folder.remove(place)
        return f"{place.name}: removed"
    silence(place)
    return f"{place.name}: its sound is removed"


def silence(place: Path) -> Event:
    """An event as `privacy: features-only` would have kept it."""
    found = event.read(place)
    arrays = load_arrays(place / event.FEATURES, "features of an event", "remove the whole event instead")
    if "mel" not in arrays or "normal" not in arrays:
        raise DataError(f"{place / event.FEATURES}: not features of an event; remove the whole event instead")
    mel, normal = arrays["mel"].astype(np.float32), arrays["normal"].astype(np.float32)
    averages = found.privacy == "features-only"
    shown, files = seen(mel if averages else averaged(mel), normal, AVERAGED)
    files[event.WINDOWS] = (place / event.WINDOWS).read_bytes()
    mute = msgspec.structs.replace(found, privacy="features-only", normal_db=None, pictures=shown)
    return folder.put(place.parent, mute, files)


def _older(utc_s: float | None, before_s: float | None) -> bool:
    """Or nobody knows."""
    return before_s is not None and (utc_s is None or utc_s < before_s)


def _plays(place: Path) -> bool:
    return any((place / name).exists() for name in (event.SOUND, event.NORMAL))


def _clear(folder: Path) -> None:
    """Where no normal sound is any more."""
    for place in [*folder.glob("*"), folder]:
        with contextlib.suppress(OSError):  # of what is not ours it is not empty
            place.rmdir()
