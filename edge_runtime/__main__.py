"""Listens to a machine beside the machine: sound in, one score a second, an alarm out.

    python -m edge_runtime run BUNDLE                          the default microphone
    python -m edge_runtime run BUNDLE --device NAME            a microphone by a name of `devices`
    python -m edge_runtime run BUNDLE --file a.wav b.flac      files, as fast as possible; --realtime as they sound
    python -m edge_runtime run BUNDLE --backend tensorrt       on the GPU as soon as its engine is ready
    python -m edge_runtime score BUNDLE FILE_OR_FOLDER...      one JSON line per window
    python -m edge_runtime check BUNDLE                        does this device compute what the desktop did?
    python -m edge_runtime record OUT --clips 100              microphone -> OUT/normal/000001.wav and on
    python -m edge_runtime devices                             the microphones there are
    python -m edge_runtime alarms SITE_OR_FOLDER               the alarms, who listens; --history N
    python -m edge_runtime ack SITE_OR_FOLDER MACHINE          also reset, silence, shelve, unshelve,
                                                               out-of-service, in-service

run tells events as JSON lines: start, recording, window, lost, backend, alarm, normal, end. Times are seconds of sound.
Exit codes: 0 done, 1 a check failed, 2 the user's mistake or a dead microphone, in one line on stderr.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence

from edge_runtime import BACKENDS
from edge_runtime.cli import parser, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is imported: small products stall on more threads
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["check"]:
        from edge_runtime import check

        return check.main(words[1:])
    options = _parser().parse_args(words)
    from edge_runtime import alarm_commands

    if options.name in alarm_commands.COMMANDS:
        return alarm_commands.COMMANDS[options.name](options)
    from edge_runtime import commands  # late: --help needs no NumPy

    return commands.COMMANDS[options.name](options)


def _parser() -> argparse.ArgumentParser:
    whole = parser(__doc__, "python -m edge_runtime")
    names = whole.add_subparsers(dest="name", required=True, metavar="COMMAND")
    _run_options(names.add_parser("run", help="listen to a machine", allow_abbrev=False))
    _score_options(names.add_parser("score", help="score files", allow_abbrev=False))
    names.add_parser("check", help="replay the bundle's golden clip", add_help=False)
    _record_options(names.add_parser("record", help="microphone -> a folder of clips", allow_abbrev=False))
    devices = names.add_parser("devices", help="list microphones", allow_abbrev=False)
    devices.add_argument("--json", action="store_true", help="one JSON array")
    from edge_runtime import alarm_commands

    alarm_commands.add_options(names)
    return whole


def _run_options(command: argparse.ArgumentParser) -> None:
    _bundle_options(command)
    sound = command.add_mutually_exclusive_group()
    _microphone_options(command, sound)
    sound.add_argument("--file", nargs="+", metavar="F", help="files or folders of WAV and FLAC instead")
    pace = command.add_mutually_exclusive_group()
    pace.add_argument("--fast", action="store_true", help="files as fast as possible (the default)")
    pace.add_argument("--realtime", action="store_true", help="files as slowly as they sound")
    command.add_argument(
        "--backend", choices=BACKENDS, default="onnxruntime",
        help="tensorrt: an engine on the GPU, from when it is ready; the CPU until then and after (onnxruntime)"
    )  # fmt: skip
    command.add_argument("--seconds", type=_positive, metavar="N", help="end after so much sound")
    command.add_argument("--events", metavar="FILE", help="a new file for the events (stdout)")
    command.add_argument("--save-audio", metavar="DIR", help="a new folder for the sound that is listened to")
    command.add_argument("--command", metavar="CMD", help="run on alarm and on return to normal; event on stdin")
    command.add_argument("--on-delay", type=float, default=30.0, metavar="S", help="seconds before an alarm (30)")
    command.add_argument("--off-delay", type=float, default=60.0, metavar="S", help="seconds before it is over (60)")
    command.add_argument("-v", "--verbose", action="store_true", help="a line per window on stderr")


def _score_options(command: argparse.ArgumentParser) -> None:
    _bundle_options(command)
    command.add_argument("files", nargs="+", metavar="FILE", help="files or folders of WAV and FLAC")


def _bundle_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE")
    command.add_argument("--machine", metavar="NAME", help="which machine of the bundle (the only one)")
    command.add_argument("--threshold", type=_finite, metavar="X", help="instead of the bundle's; nothing is promised")
    command.add_argument("--channel", type=int, default=0, metavar="N", help="which channel, counted from 0 (0)")


def _record_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("out", metavar="OUT")
    _microphone_options(command, command)
    command.add_argument("--channel", type=int, default=0, metavar="N", help="which channel, counted from 0 (0)")
    command.add_argument("--label", choices=("normal", "anomaly"), default="normal", help="the clips' folder (normal)")
    command.add_argument("--clip-seconds", type=_positive, default=10.0, metavar="S", help="length of a clip (10)")
    end = command.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=_positive, metavar="N", help="end after so much sound")
    end.add_argument("--clips", type=_whole, metavar="N", help="end after so many clips")
    command.add_argument("--append", action="store_true", help="OUT may exist: add to it")


def _microphone_options(command: argparse.ArgumentParser, device: argparse._ActionsContainer) -> None:
    device.add_argument(
        "--device", metavar="NAME", default="default", help="microphone, by its name in `devices` (the default one)"
    )
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
    raise SystemExit(run_command(main))
