"""What the page itself rests on: listener, microphones, clock, network, disk, versions."""

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.doctor.clock import follows
from edge_runtime.errors import ConfigError
from edge_runtime.journal import Latency, Visitor
from edge_runtime.journal.schema import FILE
from edge_runtime.listening.signs import VERSION
from edge_runtime.web import overview
from edge_runtime.web.exchange import Answer, Asked, told
from edge_runtime.web.place import Place

NOTICES = 50


class Disk(msgspec.Struct, frozen=True):
    """Where the state folder lies."""

    free_bytes: int
    total_bytes: int
    journal_bytes: int
    events: int
    events_bytes: int
    budget_bytes: float | None  # of all events; None: no recorder, or its settings are not known here
    keep_free_bytes: float | None


def health(place: Place, asked: Asked) -> Answer:
    """GET /api/health."""
    found: dict[str, Any] = {"now_s": time.time(), "site": place.name, "versions": versions()}
    found["clock_follows"] = follows()
    try:
        with place.visiting() as visitor:
            sign = visitor.sign()
            beat = sign.beat
            found |= {
                "listening": overview.listening(sign),
                "microphones": beat.microphones if beat else [],
                "backend": beat.backend if beat else "",
                "listener_version": beat.version if beat else "",
                "latency": quantiles(beat.latency) if beat and beat.latency else None,
                "notices": visitor.notices(NOTICES)[::-1],
                "disk": disk(place, visitor),
            }
    except ConfigError as error:
        found |= overview.nothing(place, str(error)) | {"microphones": [], "notices": [], "disk": disk(place, None)}
    return told(found)


def disk(place: Place, visitor: Visitor | None) -> Disk | None:
    """None: there is no such folder yet."""
    try:
        usage = shutil.disk_usage(place.state)
    except OSError:
        return None
    events, events_bytes = visitor.events_total() if visitor else (0, 0)
    recorder = place.recorder
    return Disk(
        usage.free,
        usage.total,
        sum(_size(place.state / f"{FILE}{end}") for end in ("", "-wal")),
        events,
        events_bytes,
        recorder.budget_mb * 1e6 if recorder else None,
        recorder.free_mb * 1e6 if recorder else None,
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def quantiles(latency: Latency) -> dict[str, Any]:
    """Classes of a histogram -> the bound that so much of all windows stayed below; null: beyond the last one."""
    count = sum(latency.counts)
    found: dict[str, Any] = {"windows": count, "mean_s": latency.sum_s / count if count else None}
    for name, share in (("half_s", 0.5), ("most_s", 0.99)):
        below = 0
        found[name] = None
        for bound, more in zip(latency.bounds_s, latency.counts, strict=False):
            below += more
            if count and below >= share * count:
                found[name] = bound
                break
    return found


def versions() -> dict[str, str]:
    """Of what this page runs on."""
    return {
        "auscult": VERSION,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "computer": platform.node(),
        "processors": str(os.cpu_count()),
    }
