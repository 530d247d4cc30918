"""Events: what was recorded around alarms, what people say of it, and how to train with it.

    python -m edge_runtime events list SITE_OR_FOLDER                     the newest last; --machine, --json
    python -m edge_runtime events show SITE_OR_FOLDER ID                  one event; --json
    python -m edge_runtime events label SITE_OR_FOLDER ID fault --by ann  or normal, disturbance, microphone, unclear
    python -m edge_runtime events mark SITE_OR_FOLDER ID                  it stays, whatever the budget; unmark
    python -m edge_runtime events purge SITE_OR_FOLDER ID...              gone, at once; --older-than DAYS
    python -m edge_runtime events purge SITE_OR_FOLDER --sound            nothing is left that can be played
    python -m edge_runtime events export SITE_OR_FOLDER --out DATA        a DCASE data set of the labelled ones

SITE_OR_FOLDER is the site file, or the folder that it names as `state`. Exit codes: 0 done, 1 some of it could not be
done, 2 the user's mistake.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.alarm.words import ITSELF
from edge_runtime.cli import say
from edge_runtime.commands import place
from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_runtime.recorder.event import Event, EventWindow, Said

DAY_S = 86_400.0
WHATS = ("fault", "normal", "disturbance", "microphone", "unclear")  # as recorder.event has them, which takes NumPy


class Shown(msgspec.Struct, frozen=True):
    """An event as `--json` prints it."""

    event: Event
    said: Said
    folder: str
    bytes: int


def options(command: argparse.ArgumentParser) -> None:
    """Its arguments."""
    command.description, command.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    actions = command.add_subparsers(dest="action", required=True)
    listed = _action(actions, "list", "every event, the newest last")
    listed.add_argument("--machine", metavar="NAME", help="of this machine alone")
    listed.add_argument("--json", action="store_true", help="one JSON array")
    shown = _action(actions, "show", "one event")
    shown.add_argument("id", metavar="ID")
    shown.add_argument("--json", action="store_true", help="one JSON object")
    labelled = _action(actions, "label", "say what it was")
    labelled.add_argument("id", metavar="ID")
    labelled.add_argument("what", metavar="WHAT", choices=WHATS, help=", ".join(WHATS))
    labelled.add_argument("--by", metavar="NAME", help="who says it (the login name)")
    labelled.add_argument("--why", default="", metavar="TEXT", help="is kept with it")
    for name, words in (("mark", "it stays, whatever the budget and its age"), ("unmark", "it need not stay")):
        marked = _action(actions, name, words)
        marked.add_argument("id", metavar="ID")
        marked.add_argument("--by", metavar="NAME", help="who does it (the login name)")
    _purge_options(_action(actions, "purge", "remove events, or their sound"))
    _export_options(_action(actions, "export", "labelled events as a DCASE data set"))


def _purge_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", nargs="*", metavar="ID")
    command.add_argument("--older-than", type=_days, metavar="DAYS", help="every event that is older")
    command.add_argument("--sound", action="store_true", help="the sound alone; of every event where none is named")
    command.add_argument("--marked", action="store_true", help="marked ones, too")


def _export_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", required=True, metavar="DATA", help="a new folder for the data set")
    command.add_argument("--machine", metavar="NAME", help="of this machine alone")
    command.add_argument("--clip-seconds", type=_days, default=10.0, metavar="S", help="length of a clip (10)")
    command.add_argument("--append", action="store_true", help="DATA may exist: add to it, numbers go on")
    command.add_argument(
        "--rename", action="append", default=[], metavar="MACHINE=TYPE",
        help="what a machine is called in DATA (as in its bundle): fan=pump, fan=pump_section_01"
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="one JSON object")


def run(options: argparse.Namespace) -> int:
    """One action."""
    return ACTIONS[options.action](options, place.state_folder(options.place))


def list_(options: argparse.Namespace, state: Path) -> int:
    """Every event, a line each."""
    found = [one for one in _all(state) if options.machine in (None, one.event.machine)]
    if options.json:
        print(msgspec.json.encode(found).decode())
        return 0
    for one in found:
        print(_line(one))
    print(f"{len(found)} events, {sum(one.bytes for one in found) / 1e6:.1f} MB, in {state / 'events'}")
    return 0


def show(options: argparse.Namespace, state: Path) -> int:
    """All that is known of one."""
    from edge_runtime.recorder import event

    folder = event.folder_of(state, options.id)
    one = _shown(folder)
    if options.json:
        print(msgspec.json.encode(one).decode())
    else:
        print("\n".join(_lines(one, event.windows(folder))))
    return 0


def label(options: argparse.Namespace, state: Path) -> int:
    """Say what it was."""
    from edge_runtime.recorder import event

    folder = event.folder_of(state, options.id)
    event.label(folder, options.what, _who(options), place.one_line("--why", options.why))
    print(f"{options.id}: {event.MEANINGS[options.what]}")
    return 0


def mark(options: argparse.Namespace, state: Path) -> int:
    """Keep it for good, or no more."""
    from edge_runtime.recorder import event

    folder, marked = event.folder_of(state, options.id), options.action == "mark"
    event.mark(folder, marked, _who(options))
    print(f"{options.id}: {'stays, whatever the budget and its age' if marked else 'goes when its time has come'}")
    return 0


def purge(options: argparse.Namespace, state: Path) -> int:
    """Remove what was asked for -> 1 where some of it stays."""
    from edge_runtime.recorder import purge

    if not options.id and options.older_than is None and not options.sound:
        raise ConfigError("purge: nothing is named; give ID..., --older-than DAYS or --sound")
    before = None if options.older_than is None else time.time() - options.older_than * DAY_S
    done = purge.purge(state, options.id, before, options.sound, options.marked)
    for words in done.removed:
        print(words)
    for words in done.left:
        say(words)
    print(f"{len(done.removed)} removed, {len(done.left)} left")
    return 1 if done.left else 0


def export(options: argparse.Namespace, state: Path) -> int:
    """A data set of what people labelled."""
    from edge_runtime.recorder import dataset, event

    names = dict(_renamed(words) for words in options.rename)
    folders = [
        folder for folder in event.folders(state) if options.machine in (None, _machine(folder, options.machine))
    ]
    if not folders:
        raise ConfigError(f"{state}: no events{f' of {options.machine}' if options.machine else ''}; nothing to export")
    done = dataset.export(folders, Path(options.out), options.clip_seconds, options.append, names)
    if options.json:
        print(msgspec.json.encode(done).decode())
    else:
        for kind, count in done.clips.items():
            print(f"{count:5d} clips  {kind}")
        for why, count in done.left_out.items():
            print(f"{count:5d} events left out: {why}")
        print(f"{done.events} events -> {done.data}")
    return 0 if done.events else 1


def _machine(folder: Path, otherwise: str) -> str:
    """Of an event; one that cannot be read may be of any."""
    from edge_runtime.errors import DataError
    from edge_runtime.recorder import event

    try:
        return event.read(folder).machine
    except DataError:
        return otherwise


def _all(state: Path) -> Iterator[Shown]:
    """Every event that can be read; what cannot is said."""
    from edge_runtime.errors import DataError
    from edge_runtime.recorder import event

    for folder in event.folders(state):
        try:
            yield _shown(folder)
        except DataError as error:
            say(f"warning: {error}")


def _shown(folder: Path) -> Shown:
    from edge_runtime.recorder import event

    found = event.read(folder)
    return Shown(found, event.said(folder), str(folder), found.bytes)


def _line(one: Shown) -> str:
    found, said = one.event, one.said
    what = said.labels[-1].what if said.labels else "-"
    state = "" if found.state == "whole" else f" ({found.state})"
    words = [found.id, f"{found.level}{state}", f"{found.seconds:.0f} s", f"{one.bytes / 1e6:.1f} MB", what]
    return "  ".join([*words, *["marked"] * said.marked, found.reason.words])


def _lines(one: Shown, windows: list[EventWindow]) -> Iterator[str]:
    found, said = one.event, one.said
    clock = f" (the clock was {found.clock})" if found.clock else ""
    score = "no score" if found.score is None else f"score {found.score:.4g}"
    above = sum(bool(window.decision) for window in windows)
    yield f"{found.id}  {found.machine} of {found.site}, {found.level}, {found.time}{clock}"
    yield f"  {found.reason.words}"
    yield f"  {score}, alarm above {found.threshold:.4g}; above it {above} of {len(windows)} windows"
    over = "not in it" if found.returned_s is None else f"at {found.returned_s:.1f} s"
    yield f"  {found.seconds:.1f} s, {found.state}; the first window above ends at {found.since_s:.1f} s,"
    yield f"  the alarm is raised at {found.alarm_s:.1f} s, the return is {over}"
    for start, end in found.gaps:
        yield f"  sound is missing from {start:.1f} s to {end:.1f} s" if end > start else f"  a break at {start:.1f} s"
    for label in said.labels:
        yield f"  {label.time}  {label.who}: {label.what}{f', {label.why}' if label.why else ''}"
    if said.marked:
        yield f"  marked by {said.marked_by}: it stays"
    yield f"  {one.folder}"


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str
) -> argparse.ArgumentParser:
    command = actions.add_parser(name, help=words, allow_abbrev=False)
    place.add_option(command)
    return command


def _who(options: argparse.Namespace) -> str:
    name = place.one_line("--by", place.login() if options.by is None else options.by)
    if not name.strip() or name == ITSELF:
        raise ConfigError(f"--by {name!r}: wanted the name of a person")
    return name


def _renamed(words: str) -> tuple[str, str]:
    machine, found, name = words.partition("=")
    if not (machine and found and name) or "/" in name or name.startswith("."):
        raise ConfigError(f"--rename {words}: wanted MACHINE=TYPE, as in fan=pump_section_01")
    return machine, name


def _days(text: str) -> float:
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: wanted a number above 0")
    return value


ACTIONS: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "list": list_, "show": show, "label": label, "mark": mark, "unmark": mark, "purge": purge, "export": export,
}  # fmt: skip
COMMANDS = {"events": run}
