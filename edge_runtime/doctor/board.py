"""The computer: disk, memory, and how systemd runs the service."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.doctor import Finding
from edge_runtime.doctor.patient import Patient

MIB = 1 << 20
DISK_WARN, DISK_FAIL = 1024 * MIB, 64 * MIB  # bytes free
MEMORY_WARN, MEMORY_FAIL = 256 * MIB, 64 * MIB  # bytes that can be had without swapping
UNIT = "auscult.service"
SYSTEMCTL_S = 3.0


def disk(patient: Patient) -> Iterator[Finding]:
    """Room, and whether the folder of the state can be written."""
    folder = patient.state.absolute()
    there = _there(folder)
    free = shutil.disk_usage(there).free
    words = f"{free / MIB:,.0f} MiB free at {there}"
    room = "delete what is not needed: a full disk ends the history of alarms"
    if free < DISK_FAIL:
        yield Finding("disk", "fail", words, room)
    elif free < DISK_WARN:
        yield Finding("disk", "warn", words, room)
    else:
        yield Finding("disk", "ok", words)
    try:
        with tempfile.TemporaryFile(dir=there) as stream:
            stream.write(bytes(4096))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        todo = f"run as the service's user, or: chown {_user()} {there}"
        yield Finding("disk", "fail", f"{there} cannot be written ({error.strerror})", todo)
    else:
        yield Finding("disk", "ok", f"{there} can be written" + ("" if there == folder else f"; {folder} will be made"))


def recorder(patient: Patient) -> Iterator[Finding]:
    """Whether events may take what the site file gives them."""
    settings = patient.site.recorder if patient.site is not None else None
    if settings is None:
        yield Finding("recorder", "ok", "no `recorder:` in a site file: no sound around alarms is kept")
        return
    from edge_runtime.recorder import event
    from edge_runtime.recorder.disk import MB, standing

    found = [one[0] for place in event.folders(patient.state) if (one := standing(place)) is not None]
    used, free = sum(one.bytes for one in found) / MB, shutil.disk_usage(_there(patient.state)).free / MB
    words = (
        f"{len(found)} events, {used:,.0f} of {settings.budget_mb:,.0f} MB ({settings.privacy}); {free:,.0f} MB free"
    )
    if free < settings.free_mb:
        todo = f"delete what is not needed, or events: free_mb is {settings.free_mb:g}"
        yield Finding("recorder", "warn", f"{words}: nothing is recorded, or older events go for it", todo)
    elif free + used < settings.budget_mb + settings.free_mb:
        todo = "give a smaller budget_mb, or room on the disk"
        yield Finding("recorder", "warn", f"{words}: less than the budget", todo)
    else:
        yield Finding("recorder", "ok", words)


def _there(folder: Path) -> Path:
    """The folder, or the one above that it will be made in."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def memory(_patient: Patient) -> Iterator[Finding]:
    """What can be had."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    free, whole = fields.get("MemAvailable", fields["MemFree"]), fields["MemTotal"]
    words = f"{free / MIB:,.0f} of {whole / MIB:,.0f} MiB can be had"
    state = "fail" if free < MEMORY_FAIL else "warn" if free < MEMORY_WARN else "ok"
    yield Finding("memory", state, words, "" if state == "ok" else "end other programs")  # type: ignore[arg-type]


def systemd(_patient: Patient, unit: str = UNIT) -> Iterator[Finding]:
    """Whether it restarts a listener that dies, and one that is alive and does not listen."""
    told = _properties(unit)
    if told is None:
        yield Finding("systemd", "ok", "not here: whatever starts the listener must restart it too")
        return
    if told.get("LoadState") != "loaded":
        todo = "see jetson/README.md, or start the listener in another way that restarts it"
        yield Finding("systemd", "warn", f"no {unit}: nobody starts the listener after a power failure", todo)
        return
    watchdog, restart = told.get("WatchdogUSec", "0"), told.get("Restart", "no")
    if told.get("Type") != "notify" or watchdog in ("0", "infinity"):
        words = f"{unit} has Type={told.get('Type')} and WatchdogSec={watchdog}: a listener that hangs is not noticed"
        yield Finding("systemd", "warn", words, f"systemctl edit {unit}: Type=notify, WatchdogSec=60")
    elif restart not in ("always", "on-failure", "on-watchdog", "on-abnormal"):
        words = f"{unit} has Restart={restart}: a listener that dies stays dead"
        yield Finding("systemd", "warn", words, f"systemctl edit {unit}: Restart=always")
    else:
        yield Finding("systemd", "ok", f"{unit} is restarted ({restart}), its watchdog waits {watchdog}")


def _properties(unit: str) -> dict[str, str] | None:
    """Of a unit; None where no systemd runs."""
    words = ["systemctl", "show", unit, "--property=LoadState,Type,WatchdogUSec,Restart"]
    if not Path("/run/systemd/system").is_dir() or shutil.which(words[0]) is None:
        return None
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SYSTEMCTL_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())
