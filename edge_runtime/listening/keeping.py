"""What a site keeps and shows while it listens: journal, alarms, signs of life."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.alarm.condition import begins
from edge_runtime.capture import Source
from edge_runtime.journal.rows import Listened, Moment, Recorded
from edge_runtime.listening.opening import Notes, Placed
from edge_runtime.listening.panel import Panel
from edge_runtime.site_file import Site

if TYPE_CHECKING:
    from edge_runtime.journal import Journal
    from edge_runtime.listening.recording import Recording
    from edge_runtime.listening.signs import Signs


def journal(site: Site, notes: Notes, stack: contextlib.ExitStack) -> Journal | None:
    """What the site keeps, where it says so."""
    if site.state is None:
        return None
    from edge_runtime.journal import Journal

    kept_here = Journal(site.state, lambda words: notes.add("journal", words))
    stack.callback(kept_here.close)
    for kept in kept_here.states():
        if kept.state != "normal":
            state = f"{kept.kind.replace('_', ' ')}: {kept.state.replace('_', ' ')} since before this start"
            gone = "" if kept.machine in site.machines else ", and the site has no such machine any more"
            notes.add(kept.machine, f"{state}{gone}")
    return kept_here


def panel(site: Site, kept: Journal | None) -> Panel:
    """The alarms of the site, as its journal remembers them where it has one."""
    moment = Moment(time.monotonic(), time.time())
    return Panel({name: machine.alarm for name, machine in site.machines.items()}, kept, moment)


def recording(
    site: Site,
    kept: Journal | None,
    placed: Sequence[Placed],
    panel: Panel,
    notes: Notes,
    wait_s: float = 0.0,
) -> Recording | None:
    """What keeps the sound around alarms, where the site wants it. `wait_s`: that sound may wait for the disk."""
    if site.state is None or kept is None or site.recorder is None:
        return None
    from edge_runtime.listening.recording import Recording, opened, watched

    recorder, there = opened(site, site.recorder, watched(placed), panel.statuses, notes, wait_s)
    return Recording(recorder, kept, there)


def _left(state: str, notes: Notes) -> list[Recorded]:
    """Events of before, where nothing is recorded any more."""
    if not any(list(Path(state).glob(name)) for name in ("events", "normal")):
        return []
    from edge_runtime.listening.recording import mended
    from edge_runtime.recorder import normals
    from edge_runtime.recorder.shelf import Shelf

    shelf = Shelf(Path(state))
    mended(shelf, notes)
    if count := len(shelf.rows) + len(normals.files(Path(state))):
        words = f"no `recorder:`, yet {count} events and normal sounds of before are there, which nobody removes"
        notes.add(
            "recorder", f"{words} when they are old: python -m edge_runtime events purge {state} --older-than DAYS"
        )
    return shelf.rows


def signs(
    site: Site,
    kept: Journal | None,
    placed: Sequence[Placed],
    sources: Mapping[str, Source],
    notes: Notes,
    stack: contextlib.ExitStack,
    recording: Recording | None = None,
) -> Signs | None:
    """What others see of the listening, where the site has a state folder to look into."""
    if kept is None or site.state is None:
        return None
    from edge_runtime.journal.live import Live
    from edge_runtime.listening.signs import Signs

    live = Live(Path(site.state))
    stack.callback(live.close)
    there = recording.there if recording is not None else _left(site.state, notes)
    kept.listened([_listened(one, sources) for one in placed], there)
    return Signs(kept, live, "onnxruntime", lambda words: notes.add("journal", words))


def _listened(placed: Placed, sources: Mapping[str, Source]) -> Listened:
    """A machine, for who looks from outside."""
    settings, model = placed.settings, placed.bundle.model
    warning = settings.alarm.warning
    return Listened(
        placed.name,
        str(placed.bundle.folder),
        settings.microphone,
        sources[settings.microphone].name,
        placed.above,
        None if warning is None else begins(warning, placed.machine),
        placed.promise,
        model.window / model.sample_rate,
        model.hop / model.sample_rate,
    )
