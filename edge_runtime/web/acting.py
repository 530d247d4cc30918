"""What people do: it is asked of the process that listens, and its answer is theirs."""

from typing import cast, get_args

import msgspec

from edge_runtime.alarm.words import ITSELF, Kind
from edge_runtime.commands.alarms import ACTIONS
from edge_runtime.commands.place import one_line
from edge_runtime.errors import ConfigError
from edge_runtime.journal import Request
from edge_runtime.web.exchange import Answer, Asked, Refused, told
from edge_runtime.web.key import LONGEST_NAME
from edge_runtime.web.place import Place

KINDS = get_args(Kind)
WAIT_S = 1.5  # seconds that the process that listens has to answer; the page ends within two


class Wanted(msgspec.Struct):
    """The body of an action."""

    why: str = ""
    minutes: float | None = None  # to shelve for
    who: str = ""  # of a program with the token; who is signed in has a name


def act(place: Place, asked: Asked) -> Answer:
    """POST /api/machines/{machine}/{kind}/{action}."""
    wanted = _wanted(asked)
    action, kind = ACTIONS.get(asked.names["action"]), asked.names["kind"]
    if action is None or kind not in KINDS:
        raise Refused(404, f"wanted {' or '.join(KINDS)}, and one of {', '.join(ACTIONS)}; nothing is done")
    if action == "shelve" and wanted.minutes is None:
        raise Refused(400, "minutes: wanted a number above 0; nothing is done")
    seconds = wanted.minutes * 60.0 if action == "shelve" and wanted.minutes is not None else None
    machine, who = line("machine", asked.names["machine"]), person(asked, wanted.who)
    request = Request(action, machine, cast(Kind, kind), who, line("why", wanted.why), seconds)
    with place.visiting() as visitor:
        if visitor.listener() is None:
            raise Refused(503, "nobody listens: nothing is done; start the listener and try again")
        answer = visitor.ask(request, WAIT_S)
    if answer is None:
        raise Refused(503, "the process that listens did not answer: nothing is done, the request is taken back")
    words, refused = answer
    if refused:
        raise Refused(409, words)
    return told({"words": words})


def person(asked: Asked, given: str) -> str:
    """Who acts: the person who is signed in, else whom a program names."""
    return named(asked.who or given)


def named(name: str) -> str:
    """A name that the journal takes."""
    name = line("who", " ".join(name.split()))
    if not name or name == ITSELF or len(name) > LONGEST_NAME:
        raise Refused(400, f"who: wanted the name of a person, of at most {LONGEST_NAME} characters; nothing is done")
    return name


def line(name: str, text: str) -> str:
    """What is kept is one printable line."""
    try:
        return one_line(name, text)
    except ConfigError as error:
        raise Refused(400, f"{error}; nothing is done") from None


def _wanted(asked: Asked) -> Wanted:
    try:
        return msgspec.json.decode(asked.body or b"{}", type=Wanted)
    except msgspec.MsgspecError as error:
        raise Refused(400, f"{error}; nothing is done") from None
