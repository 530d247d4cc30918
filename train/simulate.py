"""Simulate recordings of machines: a data set in the layout of DCASE 2023, or one long recording with a fault.

    python train/simulate.py OUT --machines fan pump gearbox bearing
    python train/simulate.py --stream fan.wav --like OUT/dev_data/fan --seconds 600 --fault-at 300

A machine is one draw from the wide ranges of its kind, a clip one draw of its conditions; the same seed gives the same
files, bit for bit. OUT/truth.csv names each anomaly's fault and severity: its power relative to the machine's own sound
in the bands where it acts, in dB. A recording's truth is in a JSON file beside it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec

from edge_runtime.cli import parser, run_command
from edge_runtime.errors import ConfigError
from train.simulator.clip import Simulated
from train.simulator.dataset import DEMO, DOMAINS, write_dataset
from train.simulator.faults import FAULTS
from train.simulator.kinds import KINDS
from train.simulator.recording import Recording, machine_like, write_stream

__all__ = ["machine_like", "main", "write_dataset", "write_stream"]


def arguments() -> argparse.ArgumentParser:
    """The options of both forms."""
    options = parser(__doc__)
    options.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder of the data set, must not exist")
    options.add_argument(
        "--seed", type=int, default=0, help="other seeds are other machines (of a stream: other sound)"
    )
    options.add_argument("--seconds", type=float, help="length of a clip (10) or of the stream (600)")
    options.add_argument("--json", action="store_true", help="print the result as JSON")
    data = options.add_argument_group("data set")
    data.add_argument("--machines", nargs="+", default=list(DEMO), metavar="KIND", help=f"of {', '.join(KINDS)}")
    data.add_argument("--sections", type=int, default=1, help="machines of each kind: section 00, 01, ...")
    data.add_argument("--source", type=int, default=100, help="training clips in the source domain, per machine")
    data.add_argument("--target", type=int, default=10, help="training clips in the target domain, per machine")
    data.add_argument("--test", type=int, default=50, help="test clips per machine, domain and label")
    data.add_argument("--workers", type=int, default=2, help="processes")
    long = options.add_argument_group("stream")
    long.add_argument("--stream", type=Path, metavar="FILE.wav", help="one long recording, must not exist")
    long.add_argument("--like", type=Path, metavar="OUT/dev_data/KIND", help="of a machine of this simulated data set")
    long.add_argument("--section", default="00", help="which machine of that kind")
    long.add_argument("--kind", metavar="KIND", help="instead of --like: the machine of this kind and --seed")
    long.add_argument("--fault-at", type=float, metavar="SECOND", help="when the fault begins; none without it")
    long.add_argument("--fault", help=f"of {', '.join(FAULTS)}; the kind's typical one by default")
    long.add_argument(
        "--severity", type=float, default=3.0, metavar="DB", help="power re the machine's where it acts (3)"
    )
    long.add_argument("--domain", choices=DOMAINS, default="source", help="setting under which the machine runs")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate what the options ask for."""
    options = arguments().parse_args(argv)
    if (options.out is None) == (options.stream is None):
        raise ConfigError("give either OUT for a data set or --stream FILE.wav for a recording")
    if options.stream is None:
        out = write_dataset(
            options.out,
            machines=options.machines,
            sections=options.sections,
            source=options.source,
            target=options.target,
            test=options.test,
            seconds=10.0 if options.seconds is None else options.seconds,
            seed=options.seed,
            workers=options.workers,
        )
        print(msgspec.json.encode({"data": str(out)}).decode() if options.json else out)
        return 0
    recording = _stream(options)
    print(msgspec.json.encode(recording).decode() if options.json else options.stream)
    return 0


def _stream(options: argparse.Namespace) -> Recording:
    if (options.like is None) == (options.kind is None):
        raise ConfigError("--stream: give either --like OUT/dev_data/KIND or --kind KIND")
    if not -100.0 <= options.severity <= 100.0:
        raise ConfigError(f"--severity {options.severity}: give decibels between -100 and 100; 3 is plain to hear")
    if options.like:
        machine = machine_like(options.like, options.section)
    else:
        machine = Simulated(options.kind, "00", max(0, options.seed))
    return write_stream(
        options.stream,
        machine,
        seconds=600.0 if options.seconds is None else options.seconds,
        fault_at=options.fault_at,
        fault=options.fault,
        severity_db=options.severity,
        seed=options.seed,
        domain=options.domain,
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
