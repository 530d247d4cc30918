"""The event folders that are there, as they were when they were last looked at; only what changed is read again."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_runtime.journal.rows import Recorded
from edge_runtime.recorder import disk, event
from edge_runtime.recorder.disk import Standing
from edge_runtime.recorder.event import State

Signature = tuple[int, int, int]


class Removed(msgspec.Struct, frozen=True):
    """An event folder is gone."""

    id: str


class Written(msgspec.Struct, frozen=True):
    """An event folder is there, or has changed."""

    row: Recorded
    state: State


Row = Written | Removed


class Shelf:
    """For one thread at a time."""

    def __init__(self, state: Path) -> None:
        self.events = state / event.EVENTS
        self._known: dict[str, tuple[Signature, Standing, Recorded]] = {}

    @property
    def standing(self) -> list[Standing]:
        """Of every event."""
        return [one for _, one, _ in self._known.values()]

    @property
    def rows(self) -> list[Recorded]:
        """The same, for the journal."""
        return [row for _, _, row in self._known.values()]

    def look(self) -> Iterator[Row]:
        """What is new, changed or gone since the last look, whoever did it."""
        there = {folder.name: folder for folder in event.folders(self.events.parent)}
        for name in [name for name in self._known if name not in there]:
            yield self.gone(name)
        for name, folder in there.items():
            signature, known = _signature(folder), self._known.get(name)
            if signature is None or (known is not None and known[0] == signature):
                continue
            found = disk.standing(folder)
            if found is None:
                continue
            self._known[name] = (signature, *found)
            if known is None or (known[1].state, known[2]) != (found[0].state, found[1]):
                yield Written(found[1], found[0].state)

    def gone(self, name: str) -> Removed:
        """It was removed."""
        self._known.pop(name, None)
        return Removed(name)


def _signature(folder: Path) -> Signature | None:
    """Another one after every change; None where the folder is gone meanwhile, or not to be read."""
    try:
        manifest, said = (folder / event.MANIFEST).stat(), folder / event.LABEL
        return manifest.st_ino, manifest.st_mtime_ns, said.stat().st_mtime_ns if said.exists() else 0
    except OSError:
        return None
