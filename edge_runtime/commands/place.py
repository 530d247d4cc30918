"""What commands that speak with a listener have in common: where it keeps its state, and who asks."""

import argparse
import getpass
from pathlib import Path

from edge_runtime.errors import ConfigError

LONGEST = 500  # characters of a name or a reason


def add_option(command: argparse.ArgumentParser) -> None:
    """The argument SITE_OR_FOLDER, `options.place`."""
    command.add_argument("place", metavar="SITE_OR_FOLDER", help="the site file, or the folder of its state")


def state_folder(place: str) -> Path:
    """Of a site file, or as it is given."""
    folder = Path(place)
    if folder.is_dir():
        return folder
    if not folder.exists():
        raise ConfigError(f"{place}: no such file or folder; give the site file or the folder of its state")
    from edge_runtime.site_file import load_site

    state = load_site(folder).state
    if state is None:
        raise ConfigError(f"{place}: it gives no `state:` folder, so that nobody outside can see or change an alarm")
    return Path(state)


def one_line(name: str, text: str) -> str:
    """What is kept for others to read is one printable line."""
    if len(text) > LONGEST or any(not letter.isprintable() for letter in text):
        raise ConfigError(f"{name} {text[:40]!r}: wanted one line of at most {LONGEST} printable characters")
    return text


def login() -> str:
    """Who asks, where nobody says so."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError("no login name here; say who you are with --by NAME") from None
