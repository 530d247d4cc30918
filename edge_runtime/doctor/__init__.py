"""Is this device fit to listen? Each line says what was seen and, where it is not well, what to do.

    python -m edge_runtime doctor SITE.yaml                               all that the site names
    python -m edge_runtime doctor BUNDLE --machine NAME --device NAME     one machine, heard with one microphone
    python -m edge_runtime doctor                                         the default microphone and the board
    python -m edge_runtime doctor SITE.yaml --fire                        relays fall, horns sound, commands run

Every microphone is listened to for --seconds, and compared with the machine's normal sound. No output fires without
--fire. Exit codes: 0 all is well or nearly so (warn), 1 something fails, 2 the user's mistake.
"""

import argparse
from collections.abc import Iterable
from typing import Literal

import msgspec

LONGEST_S = 600.0  # of listening: the sound is kept in memory
State = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """What one check saw."""

    check: str
    state: State
    seen: str
    todo: str = ""  # the next step, where all is not well


def options(command: argparse.ArgumentParser) -> None:
    """Its arguments."""
    command.description, command.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    command.add_argument("target", nargs="?", metavar="SITE.yaml|BUNDLE")
    command.add_argument("--machine", metavar="NAME", help="of the bundle (the only one)")
    command.add_argument("--device", metavar="NAME", help="the microphone of a bundle (the default one)")
    command.add_argument("--seconds", type=_seconds, default=5.0, metavar="N", help="listen so long (5)")
    command.add_argument("--fire", action="store_true", help="let every output act, for a second or two")
    command.add_argument("--json", action="store_true", help="one JSON array")


def run(options: argparse.Namespace) -> int:
    """The command."""
    from edge_runtime.doctor.checks import examine
    from edge_runtime.doctor.patient import admit

    return report(examine(admit(options)), options.json)


def report(findings: Iterable[Finding], as_json: bool) -> int:
    """Print them as they come -> the exit code."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            print(f"{finding.state:5s}{finding.check}: {finding.seen}", flush=True)
            if finding.todo:
                print(f"     -> {finding.todo}", flush=True)
    if as_json:
        print(msgspec.json.encode(found).decode())
    return 1 if any(finding.state == "fail" for finding in found) else 0


COMMANDS = {"doctor": run}


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text}: wanted 0.5 to {LONGEST_S:.0f} seconds")
    return value
