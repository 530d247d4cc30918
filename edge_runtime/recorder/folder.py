"""Event folders on a disk that may fill up, or lose its power at any moment: each is whole, or it is not there.

    events/ID             whole
    events/.ID.partial    being written; with a manifest it is whole, too, and waits for its name
    events/.ID.old        what a newer one of the same name replaces
    events/.ID.gone       being removed

`mend` makes of these what they were meant to be, once, before anything is written.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from edge_runtime import safe_file
from edge_runtime.errors import DataError
from edge_runtime.recorder import event
from edge_runtime.recorder.event import Event

PRIVATE = 0o750  # what is heard here is not for every user of the computer
PARTIAL, OLD, GONE = ".partial", ".old", ".gone"


def put(events: Path, found: Event, files: Mapping[str, bytes], links: Iterable[tuple[str, Path]] = ()) -> Event:
    """Write an event, or replace it and keep what people said of it -> its manifest. `links`: files of elsewhere."""
    events.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    partial = events / f".{found.id}{PARTIAL}"
    try:
        _clear(partial)
        partial.mkdir()
        for name, data in files.items():
            safe_file.new(partial / name, data)
        for name, source in links:
            _link(source, partial / name)
        found = msgspec.structs.replace(found, bytes=sum(file.stat().st_size for file in partial.iterdir()))
        safe_file.write(partial / event.MANIFEST, msgspec.json.format(msgspec.json.encode(found)))
    except OSError:
        _clear(partial)
        raise
    _name(partial, events / found.id)
    return found


def remove(folder: Path) -> bool:
    """An event goes; whether it was there."""
    gone = folder.with_name(f".{folder.name}{GONE}")
    _clear(gone)
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return False
    safe_file.sync(folder.parent)
    _clear(gone)
    return True


def mend(events: Path) -> Iterator[Path]:
    """After a crash: what was half done is finished or gone -> events that the end of the listening cut."""
    if not events.is_dir():
        return
    for place in sorted(events.glob(".*"), key=lambda place: (place.suffix != PARTIAL, place)):  # the newer one first
        name, kind = Path(place.name[1:]).stem, Path(place.name).suffix
        folder = events / name
        if kind in (PARTIAL, OLD) and not folder.exists() and (place / event.MANIFEST).is_file():
            _carry(events / f".{name}{OLD}", place)
            place.rename(folder)
        elif kind in (PARTIAL, OLD, GONE):
            _clear(place)
    for place in sorted(events.iterdir()):
        if event.ID.fullmatch(place.name) and place.is_dir() and cut(place):
            yield place


def cut(folder: Path) -> bool:
    """Whether an event went on when the listening ended; now it says so."""
    try:
        found = event.read(folder)
    except DataError:
        return False
    if found.state != "open":
        return False
    rewrite(folder, msgspec.structs.replace(found, state="cut"))
    return True


def rewrite(folder: Path, found: Event) -> None:
    """Another manifest for the same files."""
    safe_file.write(folder / event.MANIFEST, msgspec.json.format(msgspec.json.encode(found)))


def _name(partial: Path, folder: Path) -> None:
    """Give what is whole its name; an older one of that name steps aside first, a crash between leaves one of them."""
    old = folder.with_name(f".{folder.name}{OLD}")
    _clear(old)
    with contextlib.ExitStack() as stack:
        if folder.exists():
            stack.enter_context(event.alone(folder))
            folder.rename(old)
            _carry(old, partial)
        partial.rename(folder)
    safe_file.sync(folder.parent)
    _clear(old)


def _carry(old: Path, new: Path) -> None:
    """What people said of it."""
    with contextlib.suppress(FileNotFoundError):
        if old != new:
            (old / event.LABEL).rename(new / event.LABEL)


def _link(source: Path, target: Path) -> None:
    """The same file twice, at the cost of one; where the disk has no links, a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        safe_file.new(target, source.read_bytes())


def _clear(folder: Path) -> None:
    """Gone; a disk that refuses is told of when something is written next."""
    shutil.rmtree(folder, ignore_errors=True)
