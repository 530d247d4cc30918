"""One process listens for a folder: it holds a lock there for as long as it lives, however it ends."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from edge_runtime.errors import ConfigError

LOCK = "listening.lock"
TRIES, PAUSE_S = 5, 0.05  # who only looks holds the lock for a moment


def hold(folder: Path) -> int:
    """Take the lock -> a descriptor that holds it until it is closed. Another process that listens is an error."""
    descriptor = _opened(folder / LOCK)
    try:
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise ConfigError(
                        f"{folder}: process {_pid(descriptor) or 'unknown'} listens here already; stop it first, "
                        "or give another folder"
                    ) from None
                time.sleep(PAUSE_S)
        with contextlib.suppress(OSError):  # a full or read-only disk: the lock holds, without its pid
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:  # an interrupt too: who failed to begin holds no lock
        os.close(descriptor)
        raise
    return descriptor


def _opened(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        if not file.exists():
            raise
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # of before the disk became read-only


def holder(folder: Path) -> int | None:
    """The pid of the process that listens; None: nobody does."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)


def _pid(descriptor: int) -> int:
    """What is written in the lock; 0: nothing yet."""
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
