"""How everything is: `python -m edge_runtime status SITE_OR_FOLDER`.

One line says whether somebody listens, then a line for each machine, each microphone that is not heard or lost sound, a
clock that is wrong, events and disk, and what failed last. Exit code 0: somebody listens, every machine is heard, and
every alarm is normal or put away (shelved, out of service); 1: not so; 2: the user's mistake.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.alarm.words import HIDDEN, Kept, Kind
from edge_runtime.commands import alarms, place

if TYPE_CHECKING:
    from edge_runtime.journal import Beat, Heard, Microphone, Notice, Sign, Visitor

NOTICES = 5  # that are shown


class Shown(msgspec.Struct, frozen=True):
    """What `status --json` prints."""

    well: bool  # somebody listens, every machine is heard, every alarm is normal or put away
    sign: "Sign"
    alarms: list[Kept]
    events: int  # event folders
    free_mb: float  # megabytes of the disk that the state folder is on
    notices: "list[Notice]"


def add_options(names: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    command = names.add_parser("status", help="how everything is", description=__doc__, allow_abbrev=False)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    place.add_option(command)
    command.add_argument("--json", action="store_true", help="one JSON object")


def status(options: argparse.Namespace) -> int:
    """Print it; the exit code says whether all is well."""
    from edge_runtime.journal import Visitor

    folder = place.state_folder(options.place)
    shown = look(Visitor(folder), folder)
    print(msgspec.json.encode(shown).decode() if options.json else "\n".join(in_words(shown)))
    return 0 if shown.well else 1


def look(visitor: "Visitor", folder: Path) -> Shown:
    """What a state folder says, and memory where the journal is behind."""
    from edge_runtime.journal.standing import standing

    sign = visitor.sign()
    machines = [] if sign.beat is None else sign.beat.machines
    states = standing(visitor, sign)
    well = sign.fresh and all(map(_well, states)) and all(one.listening for one in machines)
    free_mb = round(shutil.disk_usage(folder).free / 1e6, 1)
    return Shown(well, sign, states, visitor.events_total()[0], free_mb, visitor.notices(NOTICES))


def in_words(shown: Shown) -> Iterator[str]:
    """The same for people, a line each."""
    yield alarms.who_listens(shown.sign)
    beat = shown.sign.beat
    if beat is not None:
        states = {(one.machine, one.kind): one for one in shown.alarms}
        for heard in beat.machines:
            yield _machine(heard, states)
        for microphone in beat.microphones:
            yield from _microphone(microphone)
        yield from _clock(beat)
    yield f"{shown.events} events, {shown.free_mb:.0f} MB free on the disk"
    for notice in shown.notices:
        yield f"{notice.time}  {notice.about}: {notice.words}"


def _machine(heard: "Heard", states: Mapping[tuple[str, Kind], Kept]) -> str:
    kinds: tuple[Kind, ...] = ("anomaly", "not_listening")
    kept = [states[heard.machine, kind] for kind in kinds if (heard.machine, kind) in states]
    words = [f"{one.kind.replace('_', ' ')}: {alarms.in_words(one)}" for one in kept if one.state != "normal"]
    if not heard.listening and not any(one.kind == "not_listening" and one.state != "normal" for one in kept):
        words.append("not listening yet" if not heard.time else "not listening")
    score = "no score" if heard.score is None else f"score {heard.score:.4g} of {heard.threshold:.4g}"
    level = "" if not heard.time else "silent" if heard.level_dbfs is None else f"{heard.level_dbfs:.1f} dBFS"
    said = [f"{heard.machine:20}", "; ".join(words) or "normal", score, level, *heard.faults]
    return "  ".join(filter(None, said))


def _microphone(microphone: "Microphone") -> Iterator[str]:
    if not microphone.listening:
        yield f"microphone {microphone.name}: not heard: {microphone.reason or microphone.device}"
    elif microphone.lost_s:
        yield f"microphone {microphone.name}: {microphone.lost_s:.1f} s of sound lost since the listening began"


def _clock(beat: "Beat") -> Iterator[str]:
    if beat.clock:
        yield f"the wall clock is {beat.clock}: times are not to be trusted"


def _well(kept: Kept) -> bool:
    """Whether nobody need look: it is normal, or a person has put it away."""
    return kept.state == "normal" or kept.state in HIDDEN


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"status": status}
