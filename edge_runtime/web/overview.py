"""How everything is, at a glance: who listens, every machine, every alarm that wants something of somebody."""

import time
from typing import Any, get_args

import msgspec

from edge_runtime import utc
from edge_runtime.alarm.states import ASKS, LEAVES, TABLE
from edge_runtime.alarm.words import HIDDEN, RANK, Action, Kept, Kind
from edge_runtime.errors import ConfigError
from edge_runtime.journal import Beat, Entry, Heard, Listened, Sign, Visitor, lock
from edge_runtime.journal.schema import FILE
from edge_runtime.journal.standing import standing
from edge_runtime.web import traces, verdict
from edge_runtime.web.exchange import Answer, Asked, told
from edge_runtime.web.place import Place

BACK = 100  # changes of a machine that are looked through for how an alarm began
ACTIONS: tuple[Action, ...] = get_args(Action)


class Standing(msgspec.Struct, frozen=True):
    """One alarm that is not normal."""

    machine: str
    kind: Kind
    state: str
    level: str
    silenced: bool
    word: str  # what it is, shortly
    todo: str  # what is wanted of people
    since: str  # UTC of the raise, ISO 8601; "": before all that the history still has
    why: str
    reason: str  # how the sound deviates
    score: float | None
    by: str  # who did the last thing to it that a person did
    said: str  # and why
    shelf_left_s: float | None
    can: list[Action]  # what would not be refused


def state(place: Place, asked: Asked) -> Answer:
    """GET /api/state."""
    now_s = time.time()
    head = {"now_s": now_s, "site": place.name}
    try:
        with place.visiting() as visitor:
            return told(head | everything(visitor, now_s))
    except ConfigError as error:
        return told(head | nothing(place, str(error)))


def nothing(place: Place, words: str) -> dict[str, Any]:
    """There is no journal that can be read."""
    waiting = not (place.state / FILE).exists() and lock.holder(place.state) is None
    said = f"Nothing has listened here yet: {place.state} has no journal." if waiting else words
    listening = {"state": "waiting" if waiting else "unreadable", "words": said, "fresh": False}
    return {"listening": listening, "machines": [], "alarms": []}


def everything(visitor: Visitor, now_s: float) -> dict[str, Any]:
    """From a journal."""
    sign = visitor.sign()
    beat = sign.beat
    heard = {one.machine: one for one in beat.machines} if beat else {}
    listened = machines_of(visitor, beat)
    kept = standing(visitor, sign)
    until_s = now_s if sign.fresh or beat is None else utc.seconds(beat.time)
    machines = [
        _machine(one, heard.get(one.machine), [alarm for alarm in kept if alarm.machine == one.machine], sign)
        | {"trace": traces.live(visitor, one, beat, until_s)}
        for one in listened
    ]
    shown = [_standing(visitor, one) for one in kept if one.state != "normal"]
    return {
        "listening": listening(sign),
        "machines": machines,
        "alarms": sorted(shown, key=lambda one: (one.state in HIDDEN, -RANK.get(one.level, 0), one.since)),
    }


def machines_of(visitor: Visitor, beat: Beat | None) -> list[Listened]:
    """What is listened to, whether or not the journal knows it already."""
    known = visitor.machines()
    names = {one.machine for one in known}
    heard = beat.machines if beat else []
    new = [
        Listened(one.machine, "", "", "", one.threshold, None, "", 0.0, 1.0)
        for one in heard
        if one.machine not in names
    ]
    return known + new


def listening(sign: Sign) -> dict[str, Any]:
    """Can what is shown be trusted?"""
    beat = sign.beat
    last = beat.time if beat else ""
    if sign.fresh:
        found, words = "listening", f"process {sign.listener} listens"
    elif sign.listener is None:
        found, words = "gone", "What is shown is what was. Start the listener."
    elif sign.quiet_s is None:
        found, words = "starting", f"Process {sign.listener} has begun and has not told anything yet."
    else:
        found = "hangs"
        words = f"Process {sign.listener} is there and tells nothing: it hangs, or its disk is full. Shown is what was."
    return {
        "state": found,
        "words": words,
        "fresh": sign.fresh,
        "pid": sign.listener,
        "quiet_s": sign.quiet_s,
        "last": last,
        "started": beat.started if beat else "",
        "clock": beat.clock if beat else "",
    }


def _machine(one: Listened, heard: Heard | None, kept: list[Kept], sign: Sign) -> dict[str, Any]:
    look = verdict.of(heard, kept, sign.fresh)
    microphone = _microphone(one, sign.beat)
    return {
        "name": one.machine,
        "look": look.look,
        "word": look.word,
        "todo": look.todo,
        "microphone": one.microphone,
        "source": one.source,
        "heard": microphone.listening if microphone else None,
        "heard_why": microphone.reason if microphone else "",
        "threshold": heard.threshold if heard and heard.threshold else one.threshold,
        "warning": one.warning,
        "score": heard.score if heard else None,
        "level_dbfs": heard.level_dbfs if heard else None,
        "faults": [verdict.SOUND.get(word, word) for word in heard.faults] if heard else [],
        "last": heard.time if heard else "",
        "listening": bool(heard and heard.listening),
        "counts": {"scored": heard.scored, "unfit": heard.unfit, "lost": heard.lost} if heard else None,
    }


def _microphone(one: Listened, beat: Beat | None) -> Any:
    return next((mic for mic in beat.microphones if mic.name == one.microphone), None) if beat else None


def _standing(visitor: Visitor, kept: Kept) -> Standing:
    entries = [entry for entry in visitor.history(BACK, kept.machine) if entry.kind == kept.kind]
    if kept.level != "normal" and entries and entries[-1].level == "normal":
        entries = []  # the raise is not written yet, and those before it are of other alarms
    began = _began(entries)
    person = next((entry for entry in reversed(entries) if entry.who != "auscult"), None)
    if person and began and person.number < began.number:
        person = None
    return Standing(
        kept.machine,
        kept.kind,
        kept.state,
        kept.level,
        kept.silenced,
        verdict.word_of(kept),
        verdict.WANTED.get((kept.kind, kept.state)) or verdict.WANTED["anomaly", kept.state],
        began.time if began else "",
        began.why if began else "",
        began.reason if began else "",
        began.score if began else None,
        person.who if person else "",
        person.why if person else "",
        kept.shelf_left_s,
        [action for action in ACTIONS if _can(kept, action)],
    )


def _began(entries: list[Entry]) -> Entry | None:
    """The change that led away from normal, or to a higher level."""
    return next((one for one in reversed(entries) if one.cause in ("raise", "escalate")), None)


def _can(kept: Kept, action: Action) -> bool:
    if action in LEAVES:
        return kept.state == LEAVES[action]
    if action == "silence" and kept.silenced:
        return False
    return (kept.state, ASKS[action]) in TABLE
