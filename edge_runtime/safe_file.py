"""Files that are whole after a lost supply: written under another name, synced, renamed, and their folder synced."""

import os
from contextlib import suppress
from pathlib import Path

PARTIAL = ".partial"  # the end of a name while it is written


def write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when this returns; folders that are missing are made."""
    make(path.parent)
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)
    try:
        new(partial, data)
        partial.replace(path)
    except BaseException:  # an interrupt too: nothing half-written stays
        with suppress(OSError):
            partial.unlink()
        raise
    sync(path.parent)


def new(path: Path, data: bytes) -> None:
    """A file that is not there yet, its bytes on the disk when this returns; its name is with `sync`."""
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of a disk that is full: it does not know which file it was
        raise OSError(error.errno, error.strerror, str(path)) from None


def make(folder: Path) -> None:
    """A folder, and those above it, on the disk when this returns."""
    if not folder.exists():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """The names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
