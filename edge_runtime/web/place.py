"""What the page is of: a state folder, and the site file beside it where there is one."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from edge_runtime import config
from edge_runtime.errors import ConfigError
from edge_runtime.journal import Visitor
from edge_runtime.recorder.settings import RecorderSettings


class Place(msgspec.Struct, frozen=True):
    """Where everything lies."""

    state: Path  # folder of the journal; it may not be there yet
    name: str  # of the site
    file: Path | None = None  # the site file
    recorder: RecorderSettings | None = None

    @contextmanager
    def visiting(self) -> Iterator[Visitor]:
        """The journal as it is now: the file of an hour ago may have been set aside."""
        with closing(Visitor(self.state)) as visitor:
            yield visitor


class _Site(msgspec.Struct):
    """What the page takes from a site file; the rest may be half-edited without hurting it."""

    name: str = "site"
    state: str | None = None
    recorder: RecorderSettings | None = None


def found(place: str) -> Place:
    """A site file or a state folder, as typed."""
    path = Path(place)
    if path.is_dir():
        return Place(path, path.resolve().name)
    if not path.exists():
        raise ConfigError(f"{place}: no such file or folder; give the site file or the folder of its state")
    site = config.load_yaml(path, _Site)
    if site.state is None:
        raise ConfigError(f"{place}: it gives no `state:` folder, and a page has nothing to show; add `state: FOLDER`")
    return Place(path.parent / Path(site.state).expanduser(), site.name, path, site.recorder)
