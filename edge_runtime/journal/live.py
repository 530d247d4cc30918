"""How everything is right now, once a second, in memory: FOLDER/live.json leads to it. A disk never sees it.

Under systemd it lies in the service's RUNTIME_DIRECTORY, else in /dev/shm. Where neither can be used there is none,
and who wants to know reads the last sign of life in the journal.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from edge_runtime.journal.rows import Beat

FILE = "live.json"
MEMORY = Path("/dev/shm")
EVERY_S = 1.0  # seconds between two


class Live:
    """Written by the process that listens."""

    def __init__(self, folder: Path) -> None:
        self._file: Path | None = None
        self._next_s = float("-inf")
        self._link = folder / FILE
        with contextlib.suppress(OSError):
            file = _place(folder)
            file.unlink(missing_ok=True)
            self._write(file, b"")
            self._point(file)
            self._file = file

    def due(self, now_s: float) -> bool:
        """Is it time for another?"""
        return self._file is not None and now_s >= self._next_s

    def show(self, beat: Beat) -> None:
        """What is so now."""
        if self._file is None:
            return
        self._next_s = beat.monotonic_s + EVERY_S
        try:
            self._write(self._file, msgspec.json.encode(beat))
        except OSError:  # memory is full; what is there grows old, and its reader sees that
            return

    def close(self) -> None:
        """Nobody listens any more."""
        for path in (self._link, self._file):
            with contextlib.suppress(OSError):
                if path is not None:
                    path.unlink(missing_ok=True)
        self._file = None

    def _write(self, file: Path, data: bytes) -> None:
        """Whole or not at all."""
        partial = file.with_name(f"{file.name}.partial")
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        partial.replace(file)

    def _point(self, file: Path) -> None:
        link = self._link.with_name(f"{FILE}.partial")
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        link.replace(self._link)


def read(folder: Path) -> Beat | None:
    """What is so now; None where nobody says."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Beat)
    except (OSError, msgspec.MsgspecError):
        return None


def _place(folder: Path) -> Path:
    """One file for each state folder."""
    number = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime) / f"live-{number}.json" if runtime else MEMORY / f"auscult-{os.getuid()}-{number}.json"
