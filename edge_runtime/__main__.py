"""Listens to machines beside the machines: sound in, a score of each every second, an alarm out.

    python -m edge_runtime devices                             the microphones there are, by names that stay
    python -m edge_runtime record OUT --clips 100              microphone -> OUT/normal/000001.wav and on
    python -m edge_runtime score BUNDLE FILE_OR_FOLDER...      one JSON line per window
    python -m edge_runtime check BUNDLE                        does this device compute what the desktop did?
    python -m edge_runtime doctor [SITE.yaml | BUNDLE]         is this device fit to listen, and what to do?

    python -m edge_runtime run BUNDLE                          listen to one machine with the default microphone
    python -m edge_runtime run BUNDLE --device NAME            with another; --backend tensorrt: on the GPU when ready
    python -m edge_runtime run BUNDLE --file a.wav b.flac      to files, as fast as possible; --realtime as they sound
    python -m edge_runtime run SITE.yaml                       listen to every machine of a site
    python -m edge_runtime validate SITE.yaml                  is the file as it should be? --schema: its JSON Schema

    python -m edge_runtime status SITE_OR_FOLDER               how everything is; exit code 1 where not all is well
    python -m edge_runtime alarms SITE_OR_FOLDER               the alarms, who listens; --history N
    python -m edge_runtime ack SITE_OR_FOLDER MACHINE          also reset, silence, shelve, unshelve,
                                                               out-of-service, in-service
    python -m edge_runtime events list SITE_OR_FOLDER          what was recorded around alarms; also show, label, mark,
                                                               unmark, purge, export
    python -m edge_runtime serve SITE_OR_FOLDER                the status page; --host, --port
    python -m edge_runtime support SITE_OR_FOLDER --out F.zip  what somebody who helps asks for, without secrets

run BUNDLE tells events as JSON lines: start, recording, window, lost, microphone, backend, alarm, notice, end. Times
are seconds of sound. run SITE.yaml says on stderr what a person should know, and keeps alarms in the site's `state:`
folder; --events FILE takes the JSON lines. Exit codes: 0 done, 1 a check failed, 2 the user's mistake, in one line.
"""

import argparse
import importlib
import math
import os
import sys
from collections.abc import Sequence

from edge_runtime import BACKENDS
from edge_runtime.cli import parser, run_command

HOME = dict.fromkeys(("devices", "record", "score"), "commands.clips")  # command -> module; the rest: commands.alarms
HOME |= {"run": "commands.run", "validate": "commands.validate", "doctor": "doctor", "status": "commands.status"}
HOME |= {"events": "commands.events"}
HOME |= dict.fromkeys(("serve", "support"), "commands.serve")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is imported: small products stall on more threads
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["check"]:
        from edge_runtime import check

        return check.main(words[1:])
    options = _parser().parse_args(words)
    module = importlib.import_module(f"edge_runtime.{HOME.get(options.name, 'commands.alarms')}")  # late: see --help
    code: int = module.COMMANDS[options.name](options)
    return code


def command() -> int:
    """What `auscult` and `python -m edge_runtime` run: a user's mistake is one line."""
    return run_command(main)


def _parser() -> argparse.ArgumentParser:
    from edge_runtime import doctor
    from edge_runtime.commands import alarms, events, serve, status

    whole = parser(__doc__, "python -m edge_runtime")
    names = whole.add_subparsers(dest="name", required=True, metavar="COMMAND")
    devices = names.add_parser("devices", help="list microphones", allow_abbrev=False)
    devices.add_argument("--json", action="store_true", help="one JSON array")
    _record_options(names.add_parser("record", help="microphone -> a folder of clips", allow_abbrev=False))
    _score_options(names.add_parser("score", help="score files", allow_abbrev=False))
    names.add_parser("check", help="replay the bundle's golden clip", add_help=False)
    _run_options(names.add_parser("run", help="listen to a machine, or to a site", allow_abbrev=False))
    _validate_options(names.add_parser("validate", help="check a site file", allow_abbrev=False))
    doctor.options(names.add_parser("doctor", help="is this device fit to listen?", allow_abbrev=False))
    status.add_options(names)
    alarms.add_options(names)
    events.options(names.add_parser("events", help="what was recorded around alarms", allow_abbrev=False))
    serve.add_options(names)
    return whole


def _run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", metavar="SITE.yaml|BUNDLE")
    _machine_options(command)
    sound = command.add_mutually_exclusive_group()
    _microphone_options(command, sound)
    sound.add_argument("--file", nargs="+", metavar="F", help="files or folders of WAV and FLAC instead")
    pace = command.add_mutually_exclusive_group()
    pace.add_argument("--fast", action="store_true", help="files as fast as possible (the default)")
    pace.add_argument("--realtime", action="store_true", help="files as slowly as they sound")
    command.add_argument(
        "--backend", choices=BACKENDS,
        help="tensorrt: an engine on the GPU, from when it is ready; the CPU until then and after (onnxruntime)"
    )  # fmt: skip
    command.add_argument("--seconds", type=_positive, metavar="N", help="end after so much sound")
    command.add_argument("--events", metavar="FILE", help="a new file for the events (stdout)")
    command.add_argument("--save-audio", metavar="DIR", help="a new folder for the sound that is listened to")
    command.add_argument("--command", metavar="CMD", help="run on alarm and on return to normal; event on stdin")
    command.add_argument("--on-delay", type=float, metavar="S", help="seconds before an alarm (30)")
    command.add_argument("--off-delay", type=float, metavar="S", help="seconds before it is over (60)")
    command.add_argument("--no-compare", action="store_const", const=True, help="score sound unlike the enrolled, too")
    command.add_argument("--state", metavar="DIR", help="keep alarms there, so that they survive a restart")
    command.add_argument("-v", "--verbose", action="store_true", help="a line per window on stderr")


def _score_options(command: argparse.ArgumentParser) -> None:
    _bundle_options(command)
    command.add_argument("files", nargs="+", metavar="FILE", help="files or folders of WAV and FLAC")


def _bundle_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE")
    _machine_options(command)


def _machine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--machine", metavar="NAME", help="which machine of the bundle (the only one)")
    command.add_argument("--threshold", type=_finite, metavar="X", help="instead of the bundle's; nothing is promised")
    command.add_argument("--channel", type=int, metavar="N", help="which channel, counted from 0 (0)")


def _validate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("site", nargs="?", metavar="SITE.yaml")
    command.add_argument("--json", action="store_true", help="one JSON array")
    command.add_argument("--schema", action="store_true", help="print the JSON Schema of a site file")


def _record_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("out", metavar="OUT")
    _microphone_options(command, command)
    command.add_argument("--channel", type=int, metavar="N", help="which channel, counted from 0 (0)")
    command.add_argument("--label", choices=("normal", "anomaly"), default="normal", help="the clips' folder (normal)")
    command.add_argument("--clip-seconds", type=_positive, default=10.0, metavar="S", help="length of a clip (10)")
    end = command.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=_positive, metavar="N", help="end after so much sound")
    end.add_argument("--clips", type=_whole, metavar="N", help="end after so many clips")
    command.add_argument("--append", action="store_true", help="OUT may exist: add to it")


def _microphone_options(command: argparse.ArgumentParser, device: argparse._ActionsContainer) -> None:
    device.add_argument("--device", metavar="NAME", help="microphone, by its name in `devices` (the default one)")
    command.add_argument("--rate", type=_whole, metavar="HZ", help="open the microphone at this rate (its own)")


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text}: wanted a number above 0")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: wanted a number")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: wanted 1 or more")
    return value


if __name__ == "__main__":
    raise SystemExit(command())
