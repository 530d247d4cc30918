"""The thread that writes events and keeps them within their share of the disk. It may be slow or fail; nobody waits."""

import contextlib
import errno
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from edge_runtime.journal.rows import Recorded
from edge_runtime.recorder import disk, event, folder
from edge_runtime.recorder.disk import MB, Standing
from edge_runtime.recorder.draft import Draft
from edge_runtime.recorder.event import State
from edge_runtime.recorder.normals import Normals
from edge_runtime.recorder.settings import RecorderSettings

WAITING = 4  # jobs, each with up to longest_s of sound in memory
SAID = 64  # lines and rows kept until somebody asks
FULL = (errno.ENOSPC, errno.EDQUOT)


class Removed(msgspec.Struct, frozen=True):
    """An event folder is gone."""

    id: str


class Written(msgspec.Struct, frozen=True):
    """An event folder is there, or has changed."""

    row: Recorded
    state: State


Row = Written | Removed


class RoomError(OSError):
    """The disk has no room that events may take."""


class Writer:
    """Does one job after another; `put` refuses where too many wait."""

    def __init__(self, state: Path, settings: RecorderSettings, normals: Normals, rows: Sequence[Recorded]) -> None:
        """`rows`: the events that are there."""
        self._events, self._settings, self._normals = state / event.EVENTS, settings, normals
        self._known = {row.id for row in rows}
        self._jobs: deque[Callable[[], None]] = deque()
        self._busy, self._stop = False, False
        self._changed: deque[Row] = deque()
        self._said: deque[str] = deque(maxlen=SAID)
        self._trouble = ""
        self._now_s: float | None = None  # UTC, where the clock can be trusted
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None], wait_s: float = 0.0) -> bool:
        """To be done; False where too many wait, for `wait_s` or longer."""
        with self._wake:
            if wait_s:
                self._wake.wait_for(lambda: len(self._jobs) < WAITING, wait_s)
            if len(self._jobs) >= WAITING:
                return False
            self._jobs.append(job)
            self._wake.notify_all()
            return True

    def event(self, draft: Draft) -> None:
        """Job: write an event."""
        sure, files = draft.files()
        links: list[tuple[str, Path]] = []
        if sure.privacy == "sound" and (near := self._normals.nearest(sure.machine, draft.level)) is not None:
            links, sure = [(event.NORMAL, near[0])], msgspec.structs.replace(sure, normal_db=round(near[1], 1))
        size = sum(map(len, files.values()))
        self._make_room(size)
        try:
            put = folder.put(self._events, sure, files, links)
        except OSError as error:
            if error.errno not in FULL or not self._remove_one():
                raise
            put = folder.put(self._events, sure, files, links)
        self._found(put.id)
        self._fit()

    def sweep(self, now_s: float | None) -> None:
        """Job: what is too old or too much goes; what somebody removed is told. `now_s`: UTC, None: not trusted."""
        self._now_s = now_s
        there = {place.name for place in event.folders(self._events.parent)}
        for name in sorted(self._known - there):
            self._known.discard(name)
            self._tell(Removed(name))
        for name in sorted(there - self._known):  # by another hand, or swapped at that moment
            self._found(name)
        self._fit()

    def changes(self) -> Iterator[Row]:
        """Folders that are new, changed or gone since this was last asked."""
        while self._changed:
            yield self._changed.popleft()

    def notices(self) -> Iterator[str]:
        """Lines for people since this was last asked."""
        while self._said:
            yield self._said.popleft()

    def close(self, within_s: float) -> bool:
        """Do what waits, take no more; whether all is done in time."""
        with self._wake:
            self._stop = True
            self._wake.notify_all()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._stop)
                if not self._jobs:
                    return
                job = self._jobs.popleft()
                self._wake.notify_all()
            trouble = ""
            try:
                job()
            except OSError as error:
                trouble = f"events cannot be kept ({error.strerror or error}); scoring goes on"
            except Exception as error:  # whatever it is, the next event may be written
                trouble = f"an event is not kept ({type(error).__name__}: {error}); scoring goes on"
            self._report(trouble)

    def _report(self, trouble: str) -> None:
        """Each trouble once, and that it is over."""
        if trouble and trouble != self._trouble:
            self._said.append(trouble)
        elif self._trouble and not trouble:
            self._said.append("events are kept again")
        self._trouble = trouble

    def _found(self, name: str) -> None:
        found = disk.standing(self._events / name)
        if found is not None:
            self._known.add(name)
            self._tell(Written(found[1], found[0].state))

    def _tell(self, row: Row) -> None:
        self._changed.append(row)

    def _standing(self) -> list[Standing]:
        return [one for one, _ in disk.listed(event.folders(self._events.parent))]

    def _fit(self) -> None:
        """Within the budget and the time to keep."""
        standing = self._standing()
        keep_s = self._settings.keep_days * 86_400.0
        for name in disk.removals(standing, self._settings.budget_mb * MB, keep_s, self._now_s):
            self._remove(name)

    def _make_room(self, size: int) -> None:
        """The least interesting go until so much of the disk stays free."""
        while self._free() - size < self._settings.free_mb * MB:
            if not self._remove_one():
                raise RoomError(
                    errno.ENOSPC,
                    f"{self._free() / MB:.0f} MB free of the disk, {self._settings.free_mb:g} are to stay (free_mb), "
                    "and no event may go",
                )

    def _free(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return shutil.disk_usage(self._events).free
        self._events.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._events).free

    def _remove_one(self) -> bool:
        """The least interesting; whether there was one."""
        standing = self._standing()
        most = sum(one.bytes for one in standing) - 1
        for name in disk.removals(standing, most, float("inf"), self._now_s)[:1]:
            return self._remove(name)
        return False

    def _remove(self, name: str) -> bool:
        done = folder.remove(self._events / name)
        self._known.discard(name)
        self._tell(Removed(name))
        return done
