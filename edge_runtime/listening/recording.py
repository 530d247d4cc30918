"""Between the loop that listens and the recorder, whose faults end the recording and never the listening."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from edge_runtime.alarm import Change, Status
from edge_runtime.capture import Block
from edge_runtime.journal import Journal, Moment, Recorded
from edge_runtime.listening import events
from edge_runtime.listening.opening import Notes, Placed, channels
from edge_runtime.listening.post import Judged, Post
from edge_runtime.reason import Reason
from edge_runtime.recorder import event, folder, normals
from edge_runtime.recorder.going import Watched, folder_name
from edge_runtime.recorder.normals import Normals
from edge_runtime.recorder.recorder import Recorder
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.recorder.shelf import Removed, Shelf
from edge_runtime.recorder.writer import Writer
from edge_runtime.site_file import Site

CLOSE_S = 2.0  # seconds that what is not written yet has at the end
ABOUT = "recorder"
T = TypeVar("T")


class Recording:
    """The recorder, guarded; its rows go into the journal."""

    def __init__(self, recorder: Recorder, journal: Journal, there: Sequence[Recorded] = ()) -> None:
        """`there`: events of before this start."""
        self._recorder: Recorder | None = recorder
        self._journal, self.there = journal, list(there)
        self._trouble = ""

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._recorder is not None and self._recorder.busy

    def sound(self, post: Post, block: Block) -> None:
        """The next block of a post, before the post takes it."""
        self._try(lambda to: to.sound(post.name, post.at + block.lost, block.samples, block.new is not None))

    def window(self, judged: Judged, moment: Moment) -> None:
        """A window, before anything that follows from it."""
        self._try(lambda to: to.window(judged.monitor.name, judged.begin, judged.window, moment))

    def changed(self, change: Change, moment: Moment, since_s: float | None, reason: Reason | None) -> None:
        """An alarm."""
        self._try(lambda to: to.changed(change, moment, since_s, reason))

    def attend(self, moment: Moment) -> Iterator[events.Event]:
        """Once round the loop -> what is to be told."""
        if self._trouble:
            yield events.Notice(moment.at_s, ABOUT, self._trouble)
            self._trouble = ""
        for row in self._try(lambda to: list(to.attend(moment))) or ():
            if isinstance(row, Removed):
                self._journal.removed(row.id)
                continue
            one = row.row
            self._journal.recorded(one)
            yield events.Recorded(moment.at_s, one.id, one.machine, row.state, one.seconds, one.bytes)
        for words in self._try(lambda to: list(to.notices())) or ():
            yield events.Notice(moment.at_s, ABOUT, words)

    def close(self) -> None:
        """What waits is written, for so long as may be."""
        self._try(lambda to: to.close(CLOSE_S))

    def _try(self, told: Callable[[Recorder], T]) -> T | None:
        if self._recorder is None:
            return None
        try:
            return told(self._recorder)
        except Exception as error:  # a fault of the recorder's, whatever it is: those who listen go on
            self._recorder = None
            self._trouble = (
                f"fails: {type(error).__name__}: {error}; nothing is recorded until a restart, scoring goes on"
            )
            return None


def opened(
    site: Site,
    settings: RecorderSettings,
    watched: Sequence[Watched],
    statuses: Sequence[Status],
    notes: Notes,
    wait_s: float,
) -> tuple[Recorder, list[Recorded]]:
    """A recorder, and the events that are there; what a crash left half done is finished or gone."""
    state = Path(site.state or "")
    kept, shelf = Normals(state), Shelf(state)
    mended(shelf, notes)
    try:
        for one in watched:
            kept.open(one.machine.name, folder_name(one.machine.name), len(one.machine.normal_spectra))
        if settings.privacy == "features-only" and (count := sounding(state)):
            words = f"{count} events and normal sounds that can be played are still there, of before; to remove them"
            notes.add(ABOUT, f"{words}: python -m edge_runtime events purge --sound {state}")
    except OSError as error:
        notes.add(ABOUT, f"{error.filename or state}: {error.strerror}; scoring goes on")
    rows = shelf.rows
    writer = Writer(shelf, settings, kept)
    ids = [row.id for row in rows]
    return Recorder(site.name, settings, watched, statuses, writer, kept, ids, wait_s), rows


def mended(shelf: Shelf, notes: Notes) -> None:
    """What a crash left half done is finished or gone, and what there is, is known; what fails is told."""
    try:
        for place in folder.mend(shelf.events):
            notes.add(ABOUT, f"event {place.name} was cut: the listening ended in the middle of it")
        deque(shelf.look(), maxlen=0)
    except OSError as error:
        notes.add(ABOUT, f"{error.filename or shelf.events}: {error.strerror}; scoring goes on")


def watched(placed: Sequence[Placed]) -> list[Watched]:
    """Every machine of a site, as it is heard."""
    columns = {
        name: channels(one for one in placed if one.settings.microphone == name)
        for name in {one.settings.microphone for one in placed}
    }
    return [
        Watched(
            machine=one.machine,
            known_as=_known_as(one),
            threshold=one.above,
            microphone=one.settings.microphone,
            column=columns[one.settings.microphone].index(one.settings.channel),
            window=one.bundle.model.window,
            hop=one.bundle.model.hop,
            bundle=str(one.bundle.folder),
            model_hash=one.bundle.model_hash,
        )
        for one in placed
    ]


def _known_as(placed: Placed) -> str:
    """Its name in the bundle; with references of the site's own it has the site's name."""
    known = placed.bundle.machines
    only = known[0] if placed.settings.references is None and len(known) == 1 else placed.name
    return placed.settings.machine or only


def sounding(state: Path) -> int:
    """Events and normal sounds that can be played."""
    return sum((place / event.SOUND).exists() for place in event.folders(state)) + len(normals.files(state))
