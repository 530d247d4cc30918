"""The wall clock. It changes no decision of the listener, but people read it: an alarm of 1970 helps nobody."""

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_runtime import utc
from edge_runtime.doctor import Finding
from edge_runtime.doctor.patient import Patient

EARLIEST = "2026-01-01T00:00:00+00:00"  # nothing of this program is older
UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
STATUS_AT = 5 * ctypes.sizeof(ctypes.c_long)  # bytes before `status` in struct timex: modes (padded) and four longs
CURE = "let it follow a time server (timedatectl set-ntp true), or set it: timedatectl set-time"


def clock(patient: Patient, now: float | None = None) -> Iterator[Finding]:
    """Set at all, and kept right by somebody."""
    now = time.time() if now is None else now
    read = utc.text(now, "seconds")
    created = [one.bundle.manifest.created for one in patient.placed]
    earliest = max([EARLIEST, *created], key=utc.seconds)
    if now < utc.seconds(earliest):
        what = "the bundle was packed" if created else "this program was written"
        yield Finding("clock", "warn", f"{read}: before {what} ({earliest}), so it is not set", CURE)
        return
    synchronised = follows()
    if synchronised is None:
        yield Finding("clock", "ok", f"{read}; whether somebody keeps it right cannot be seen here")
    elif synchronised:
        yield Finding("clock", "ok", f"{read}, kept right by a time server")
    else:
        words = f"{read}, and nobody keeps it right" + ("" if _battery() else "; there is no clock with a battery")
        yield Finding("clock", "warn", words, CURE)


def follows(libc: Any = None) -> bool | None:
    """Whether the kernel's clock is synchronised; None: it does not say."""
    libc = ctypes.CDLL(None) if libc is None else libc
    timex = ctypes.create_string_buffer(512)  # more than a struct timex; modes 0: only read
    if not hasattr(libc, "adjtimex") or libc.adjtimex(timex) < 0:
        return None
    status = ctypes.c_int.from_buffer(timex, STATUS_AT).value
    return not status & UNSYNCHRONISED


def _battery() -> bool:
    """Whether there is a clock that goes on without power, as far as the kernel knows."""
    return any(Path("/sys/class/rtc").glob("rtc*"))
