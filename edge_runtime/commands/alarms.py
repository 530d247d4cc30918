"""What people do with alarms: the commands alarms, ack, reset, silence, shelve, unshelve, out-of-service, in-service.

They speak with the process that listens through its journal. Exit codes: 0 done, 1 refused or nobody listens, 2 the
user's mistake.
"""

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

import msgspec

from edge_runtime.alarm.words import Action, Kept, Kind
from edge_runtime.cli import say
from edge_runtime.commands import place
from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_runtime.journal import Entry, Sign, Visitor

WAIT_S = 3.0  # seconds that the process that listens has to answer
ACTIONS: dict[str, Action] = {
    "ack": "acknowledge",
    "reset": "reset",
    "silence": "silence",
    "shelve": "shelve",
    "unshelve": "unshelve",
    "out-of-service": "out_of_service",
    "in-service": "in_service",
}
HELP = {
    "ack": "say that an alarm was seen",
    "reset": "give a latched alarm free",
    "silence": "stop the noise of an alarm until the next",
    "shelve": "hide an alarm for some minutes",
    "unshelve": "end that before its time",
    "out-of-service": "hide an alarm until in-service",
    "in-service": "show it again",
}


class Shown(msgspec.Struct, frozen=True):
    """What `alarms --json` prints."""

    sign: "Sign"
    alarms: list[Kept]
    history: "list[Entry]"


def add_options(names: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register every command of this module."""
    command = names.add_parser("alarms", help="the alarms and who listens", allow_abbrev=False)
    place.add_option(command)
    command.add_argument("--json", action="store_true", help="one JSON object")
    command.add_argument("--history", type=int, default=0, metavar="N", help="the last N changes, too")
    for name, words in HELP.items():
        command = names.add_parser(name, help=words, allow_abbrev=False)
        place.add_option(command)
        command.add_argument("machine", metavar="MACHINE")
        command.add_argument("--kind", choices=get_args(Kind), default="anomaly", help="which alarm (anomaly)")
        command.add_argument("--by", metavar="NAME", help="who does it (the login name)")
        command.add_argument("--why", default="", metavar="TEXT", help="is kept with the change")
        if name == "shelve":
            command.add_argument("--minutes", type=float, required=True, metavar="N", help="until it ends by itself")


def act(options: argparse.Namespace) -> int:
    """Ask the process that listens, and say what it made of it."""
    from edge_runtime.journal import Request, Visitor

    request = Request(
        ACTIONS[options.name],
        place.one_line("MACHINE", options.machine),
        options.kind,
        place.one_line("--by", place.login() if options.by is None else options.by),
        place.one_line("--why", options.why),
        options.minutes * 60.0 if options.name == "shelve" else None,
    )
    visitor = Visitor(place.state_folder(options.place))
    if visitor.listener() is None:
        say(f"nobody listens for {options.place}: nothing is done; start the listener and try again")
        return 1
    answer = visitor.ask(request, WAIT_S)
    if answer is None:
        say("the process that listens did not answer: nothing is done, the request is taken back; see: alarms")
        return 1
    words, refused = answer
    print(words, file=sys.stderr if refused else sys.stdout)
    return 1 if refused else 0


def alarms(options: argparse.Namespace) -> int:
    """What is wrong, who listens, and on request what has happened."""
    if options.history < 0:
        raise ConfigError(f"--history {options.history}: wanted a number of changes, 0 or more")
    from edge_runtime.journal import Visitor

    visitor = Visitor(place.state_folder(options.place))
    shown = _shown(visitor, options.history)
    if options.json:
        print(msgspec.json.encode(shown).decode())
    else:
        print("\n".join(_lines(shown)))
    return 0 if shown.sign.fresh else 1


def _shown(visitor: "Visitor", count: int) -> Shown:
    from edge_runtime.journal.standing import standing

    sign = visitor.sign()
    return Shown(sign, standing(visitor, sign), visitor.history(count))


def _lines(shown: Shown) -> list[str]:
    sign = shown.sign
    lines = [who_listens(sign)]
    heard = {one.machine: one for one in sign.beat.machines} if sign.beat else {}
    for kept in shown.alarms:
        one = heard.get(kept.machine)
        deaf = kept.kind == "anomaly" and sign.listener is not None and one is not None and not one.listening
        lines.append("  ".join([f"{kept.machine:20}", f"{kept.kind:14}", in_words(kept), *["not listening"] * deaf]))
    for entry in shown.history:
        moves = " -> ".join(dict.fromkeys([entry.before, entry.state])).replace("_", " ")
        clock = f" ({entry.clock})" if entry.clock else ""
        said = [f"{entry.time}{clock}", entry.machine, entry.kind, f"{entry.cause}: {moves}", entry.level, entry.who]
        lines.append("  ".join([*said, *filter(None, [entry.why, entry.reason])]))
    return lines


def who_listens(sign: "Sign") -> str:
    """One line: can what is shown be trusted?"""
    last = f"last sign of life {sign.beat.time}" if sign.beat else "never a sign of life"
    if sign.listener is None:
        return f"NOBODY LISTENS ({last}); what follows is what was"
    if not sign.fresh:
        why = "it hangs, or its disk is full"
        return f"process {sign.listener} writes nothing ({last}): {why}; what follows is what was"
    return f"process {sign.listener} listens ({last})"


def in_words(kept: Kept) -> str:
    """Where an alarm is, for people."""
    words = [kept.state.replace("_", " ")]
    if kept.level != "normal":
        words.append(kept.level)
    if kept.silenced:
        words.append("silenced")
    if kept.shelf_left_s is not None:
        words.append(f"for {kept.shelf_left_s / 60:.0f} more minutes")
    return ", ".join(words)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"alarms": alarms, **dict.fromkeys(ACTIONS, act)}
