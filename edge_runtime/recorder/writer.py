"""The thread that writes events and keeps them within their share of the disk. It may be slow or fail; nobody waits."""

import contextlib
import errno
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edge_runtime.recorder import disk, event, folder, normals
from edge_runtime.recorder.ages import Ages
from edge_runtime.recorder.disk import MB, Standing
from edge_runtime.recorder.draft import Draft
from edge_runtime.recorder.normals import Normals
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.recorder.shelf import Row, Shelf

WAITING = 4  # jobs, each with up to longest_s of sound in memory
HANG_S = 30.0  # that one job may take, then it is said
NORMALS_S = 3600.0  # between two looks at the times of normal sounds
SAID = 64  # lines kept until somebody asks
FULL = (errno.ENOSPC, errno.EDQUOT)


class RoomError(OSError):
    """The disk has no room that events may take."""


class Writer:
    """Does one job after another; `put` refuses where too many wait."""

    def __init__(self, shelf: Shelf, settings: RecorderSettings, normals: Normals) -> None:
        """`shelf`: with the events that are there; this thread's from now on."""
        self._events, self._shelf, self._settings, self._normals = shelf.events, shelf, settings, normals
        self._jobs: deque[Callable[[], None]] = deque()
        self._stop = self._hangs = False
        self._began: float | None = None  # monotonic seconds, while it does something
        self._changed: deque[Row] = deque()
        self._said: deque[str] = deque(maxlen=SAID)
        self._trouble = ""
        self._now_s: float | None = None  # UTC, where the clock can be trusted
        self._ages, self._since = Ages(shelf.events.parent), dict[str, float]()  # name -> UTC seconds
        self._heard: dict[Path, tuple[str, float | None]] = {}  # normal sounds, as of the last look
        self._heard_s = float("-inf")
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

    @property
    def has_room(self) -> bool:
        """Whether `put` takes another job at once."""
        return len(self._jobs) < WAITING

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return self._began is not None or bool(self._jobs)

    def event(self, draft: Draft) -> None:
        """Job: write an event."""
        sure, files = draft.files()
        links: list[tuple[str, Path]] = []
        if sure.privacy == "sound" and (near := self._normals.nearest(sure.machine, draft.level)) is not None:
            links, sure = [(event.NORMAL, near[0])], msgspec.structs.replace(sure, normal_db=round(near[1], 1))
        size = sum(map(len, files.values()))
        self._make_room(size)
        try:
            folder.put(self._events, sure, files, links)
        except OSError as error:
            if error.errno not in FULL or not self._remove_one():
                raise
            folder.put(self._events, sure, files, links)
        self._fit()
        if (self._events / sure.id).exists():
            if self._trouble:
                self._said.append("events are kept again")
                self._trouble = ""
        else:
            words = f"event {sure.id} is not kept: what people labelled or marked, and it, are beyond budget_mb"
            self._report("budget", f"{words} {self._settings.budget_mb:g}; give more, or export and purge")

    def too_late(self, name: str) -> None:
        """Job: of an event that waited too long for the disk stays what there is."""
        if (self._events / name / event.MANIFEST).exists():
            folder.cut(self._events / name)
        self._report("too late", f"event {name} is cut: the disk took too long; scoring goes on")
        self._look()

    def sweep(self, now_s: float | None) -> None:
        """Job: what is too old or too much goes; what somebody changed is told. `now_s`: UTC, None: not trusted."""
        self._now_s = now_s
        if now_s is not None:
            self._age(now_s)
        self._fit()

    def changes(self) -> Iterator[Row]:
        """Folders that are new, changed or gone since this was last asked."""
        while self._changed:
            yield self._changed.popleft()

    def notices(self) -> Iterator[str]:
        """Lines for people since this was last asked."""
        began = self._began
        if began is not None and time.monotonic() - began > HANG_S and not self._hangs:
            self._hangs = True
            yield f"the disk hangs since {HANG_S:g} s: no event is written meanwhile; scoring goes on"
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
                job, self._began = self._jobs.popleft(), time.monotonic()
                self._wake.notify_all()
            try:
                job()
            except OSError as error:
                self._report(f"{error.errno}", f"events cannot be kept ({error.strerror or error}); scoring goes on")
            except Exception as error:  # whatever it is, the next event may be written
                words = f"{type(error).__name__}: {error}"
                self._report(words, f"an event is not kept ({words}); scoring goes on")
            self._began, self._hangs = None, False

    def _report(self, trouble: str, words: str) -> None:
        """Each trouble once; that it is over says the next event that is written."""
        if trouble != self._trouble:
            self._said.append(words)
        self._trouble = trouble

    def _look(self) -> None:
        self._changed.extend(self._shelf.look())

    def _fit(self) -> None:
        """Within the budget and the time to keep."""
        self._look()
        for name in disk.removals(self._standing, self._settings.budget_mb * MB, self._keep_s, self._now_s):
            self._remove(name)

    @property
    def _keep_s(self) -> float:
        return self._settings.keep_days * 86_400.0

    @property
    def _standing(self) -> list[Standing]:
        """Of every event, with its age where that is known by now."""
        since = self._since
        return [msgspec.structs.replace(one, utc_s=since.get(one.id, one.utc_s)) for one in self._shelf.standing]

    def _age(self, now_s: float) -> None:
        """What has no time of its own begins to age; a normal sound that is too old goes."""
        self._look()
        if now_s >= self._heard_s + NORMALS_S or now_s < self._heard_s:
            self._heard_s, self._heard = now_s, normals.times(self._shelf.events.parent)
        found = {one.id: one.utc_s for one in self._shelf.standing} | dict(self._heard.values())
        self._since = self._ages.look(found, now_s)
        for file in [file for file, (name, _) in self._heard.items() if now_s - self._since[name] > self._keep_s]:
            file.unlink(missing_ok=True)
            del self._heard[file]

    def _make_room(self, size: int) -> None:
        """The least interesting go until so much of the disk stays free; none goes where that would not do."""
        self._look()
        marked = sum(one.bytes for one in self._shelf.standing if one.marked)
        if marked > self._settings.budget_mb * MB:
            words = f"what people marked takes {marked / MB:.0f} MB, budget_mb is {self._settings.budget_mb:g}"
            raise RoomError(errno.ENOSPC, f"{words}: no other event may stay")
        may_go = sum(one.bytes for one in disk.giving_way(self._standing, self._now_s))
        while (free := self._free()) - size < self._settings.free_mb * MB:
            if free + may_go - size < self._settings.free_mb * MB or not self._remove_one():
                words = f"{free / MB:.1f} MB of the disk are free, an event needs {size / MB:.1f}"
                raise RoomError(errno.ENOSPC, f"{words}, free_mb is {self._settings.free_mb:g}; no other may go for it")

    def _free(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return shutil.disk_usage(self._events).free
        self._events.mkdir(mode=folder.PRIVATE, parents=True, exist_ok=True)
        return shutil.disk_usage(self._events).free

    def _remove_one(self) -> bool:
        """The least interesting; whether there was one."""
        self._look()
        return any(self._remove(one.id) for one in disk.giving_way(self._standing, self._now_s)[:1])

    def _remove(self, name: str) -> bool:
        done = folder.remove(self._events / name)
        self._changed.append(self._shelf.gone(name))
        return done
