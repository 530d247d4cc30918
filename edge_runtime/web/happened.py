"""What has happened: changes of alarms, notices, scores over time, and the events that were recorded."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime import utc
from edge_runtime.errors import DataError
from edge_runtime.journal import Beat, Entry, Listened, Visitor
from edge_runtime.recorder import event as events
from edge_runtime.web import overview, traces
from edge_runtime.web.acting import line, person
from edge_runtime.web.exchange import Answer, Asked, Refused, nameable, told
from edge_runtime.web.place import Place

MOST, USUAL = 200, 50  # rows of one answer
CHANGES = 500  # of a machine that a chart's alarms are taken from
MOST_LABELS = 100  # of one event
KINDS = {
    events.SOUND: "audio/flac",
    events.NORMAL: "audio/flac",
    events.SPECTROGRAM: "image/png",
    events.DEVIATION: "image/png",
}
MARKS_HZ = (0, 125, 250, 500, 1000, 2000, 3000, 4000, 6000, 8000)  # of the axis of a picture
WRITING = threading.Lock()  # what is said of events: read, then written


def scores(place: Place, asked: Asked) -> Answer:
    """GET /api/machines/{machine}/scores?span=1h|24h|30d."""
    with place.visiting() as visitor:
        beat = visitor.sign().beat
        one = _listened(visitor, beat, asked.names["machine"])
        steps = traces.over(visitor, one, beat, asked.query.get("span", "1h"))
        entries = [entry for entry in visitor.history(CHANGES, one.machine) if entry.kind == "anomaly"]
    alarms = [span for span in _alarms(entries, steps.begin_s) if span[1] is None or span[1] > steps.begin_s]
    return told({"steps": steps, "threshold": one.threshold, "warning": one.warning, "alarms": alarms})


def machine(place: Place, asked: Asked) -> Answer:
    """GET /api/machines/{machine}."""
    with place.visiting() as visitor:
        one = _listened(visitor, visitor.sign().beat, asked.names["machine"])
        return told({"machine": one, "events": visitor.events(10, one.machine)[::-1]})


def history(place: Place, asked: Asked) -> Answer:
    """GET /api/history?machine=&count=: changes of alarms, the newest first."""
    with place.visiting() as visitor:
        return told({"history": visitor.history(_count(asked), asked.query.get("machine"))[::-1]})


def notices(place: Place, asked: Asked) -> Answer:
    """GET /api/notices?count=: lines for people, the newest first."""
    with place.visiting() as visitor:
        return told({"notices": visitor.notices(_count(asked))[::-1]})


def listed(place: Place, asked: Asked) -> Answer:
    """GET /api/events?machine=&count=: the newest first, with what people said of them."""
    with place.visiting() as visitor:
        rows = visitor.events(_count(asked), asked.query.get("machine"))[::-1]
    return told({"events": list(_with_said(place, rows)), "meanings": events.MEANINGS, "recorder": place.recorder})


def one(place: Place, asked: Asked) -> Answer:
    """GET /api/events/{id}: the manifest, every window, what people said, which files there are.

    Of an event that goes on there is what was heard until now.
    """
    folder = _folder(place, asked)
    manifest = events.read(folder)
    return told(
        {
            "event": manifest,
            "windows": _windows(folder),
            "said": events.said(folder),
            "meanings": events.MEANINGS,
            "files": {name: picture(folder / name) for name in KINDS if (folder / name).is_file()},
        }
        | _marks(manifest)
    )


def file(place: Place, asked: Asked) -> Answer:
    """GET /api/events/{id}/{name}: sound (in ranges, too) or a picture; no other file."""
    name = nameable(asked.names["name"])
    path = _folder(place, asked) / name
    if name not in KINDS or not path.is_file():
        raise Refused(404, f"{name[:40]}: this event has no such file")
    return Answer(kind=KINDS[name], file=path)


def label(place: Place, asked: Asked) -> Answer:
    """POST /api/events/{id}/label {what, why}: what it was."""
    folder, given = _folder(place, asked), _given(asked, _Labelled)
    with WRITING:
        if len(events.said(folder).labels) >= MOST_LABELS:
            raise Refused(409, f"{MOST_LABELS} labels are said of this event already; nothing is done")
        try:
            return told({"said": events.label(folder, given.what, person(asked, given.who), line("why", given.why))})
        except DataError as error:
            raise Refused(400, str(error)) from None


def mark(place: Place, asked: Asked) -> Answer:
    """POST /api/events/{id}/mark {marked}: it stays, whatever the budget."""
    folder, given = _folder(place, asked), _given(asked, _Marked)
    with WRITING:
        return told({"said": events.mark(folder, given.marked, person(asked, given.who))})


class _Labelled(msgspec.Struct):
    what: str
    why: str = ""
    who: str = ""


class _Marked(msgspec.Struct):
    marked: bool
    who: str = ""


def _given(asked: Asked, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(asked.body, type=kind)
    except msgspec.MsgspecError as error:
        raise Refused(400, f"{error}; nothing is done") from None


def _folder(place: Place, asked: Asked) -> Path:
    try:
        return events.folder_of(place.state, nameable(asked.names["id"]))
    except DataError:
        raise Refused(404, "no such event: it was removed to keep the disk's budget, or never was") from None


def _with_said(place: Place, rows: list[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        try:
            said = events.said(events.folder_of(place.state, row.id))
        except DataError:  # removed meanwhile
            continue
        yield msgspec.structs.asdict(row) | {"label": said.labels[-1] if said.labels else None, "marked": said.marked}


def _windows(folder: Path) -> list[events.EventWindow]:
    try:
        return events.windows(folder)
    except DataError:
        return []


def _listened(visitor: Visitor, beat: Beat | None, name: str) -> Listened:
    found = next((one for one in overview.machines_of(visitor, beat) if one.machine == name), None)
    if found is None:
        raise Refused(404, f"{name[:80]}: no such machine is listened to")
    return found


def _count(asked: Asked) -> int:
    text = asked.query.get("count", str(USUAL))
    count = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) else 0
    if not 1 <= count <= MOST:
        raise Refused(400, f"count {text[:20]!r}: wanted 1 to {MOST}")
    return count


def _alarms(entries: list[Entry], begin_s: float) -> list[tuple[float, float | None]]:
    """When a machine was in alarm: from its raise to its return, whatever people did meanwhile."""
    changes = [entry for entry in entries if entry.cause in ("raise", "escalate", "return")]
    times = [(utc.seconds(entry.time), entry.cause in ("raise", "escalate")) for entry in changes]
    return traces.alarms(times, begin_s)


def _marks(event: events.Event) -> dict[str, Any]:
    """How far up a picture frequencies are, 0 to 1: its rows are mel bands, as many to each mel."""
    import numpy as np

    from edge_runtime import features

    spec = features.LogMel(sample_rate=event.sample_rate, f_max=event.sample_rate / 2)
    centres = np.concatenate([[spec.f_min], features.mel_frequencies(spec), [spec.f_max]])
    middles = np.concatenate([[0.0], (np.arange(spec.n_mels) + 0.5) / spec.n_mels, [1.0]])

    def up(hz: float) -> float:
        return round(float(np.interp(hz, centres, middles)), 4)

    return {
        "marks": [(hz, up(hz)) for hz in MARKS_HZ if hz <= spec.f_max],
        "bands": [(up(band.low_hz), up(band.high_hz)) for band in event.reason.bands],
    }


def picture(file: Path) -> dict[str, Any]:
    """What a file says of itself: bytes; of a PNG its size and palette, too."""
    found: dict[str, Any] = {"bytes": file.stat().st_size}
    for name, data in _chunks(file.read_bytes()) if file.suffix == ".png" else ():
        if name == b"IHDR":
            found["width"], found["height"] = struct.unpack(">II", data[:8])
        elif name == b"PLTE":
            found["colours"] = [data[at : at + 3].hex() for at in range(0, len(data) - 2, 3)]
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length
