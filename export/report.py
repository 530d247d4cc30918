"""How fast and how accurate a bundle is on this device: report.html, report.json and a table.

    python export/report.py BUNDLE                                       latency, memory, budgets
    python export/report.py BUNDLE --data DATA                           and accuracy of every form, false alarms a day
    python export/report.py BUNDLE --backend tensorrt --engine FILE      the same with an engine
    python export/report.py BUNDLE --baseline OLD.json                   and ratios; exit code 1 where one got worse

Latency: the listening parts on simulated sound, in the blocks of a microphone, as fast as they go; what a sound card's
own buffer adds is not in it. Machines on one device are heard by one process, their windows, which end together, scored
one after the other. The process: fresh ones on a WAV file. Power, temperature and clocks: the board's own sensors,
where it has them; where the clock was held back, times are called not comparable.

Times and memory of a baseline are worse beyond --tolerance, AUC beyond 0.005. Exit code 0: done, whatever the budgets
say; 1: worse than the baseline; 2: the user's mistake.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before NumPy is imported: as the listening process runs

import argparse
import datetime
import importlib.util
import math
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec

from calib.checkout import commit
from calib.clips import index
from edge_runtime import BACKENDS, __version__, bundle, config
from edge_runtime.backends import open_backend
from edge_runtime.bundle import Bundle
from edge_runtime.capture import BLOCK_S
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.engine import sidecar
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.scoring import Machine
from export import budgets, networks
from export.compare import Comparison, compare
from export.latency import baseline, board, page, pipeline, process, table
from export.latency.content import FORMAT, Board, Load, Process, Report

MACHINES, WINDOWS, MICROPHONE_HZ = (1, 2, 4, 8), 1000, 48_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    out = new_path(options.out, "--out")
    opened = _opened(options)
    machine = opened.machine(options.machine or opened.machines[0])  # all cost the same but for their references
    old = baseline.load(options.baseline) if options.baseline else None
    clips = index(options.data) if options.data else None
    accuracy = compare(opened.folder, clips, options.run, options.engine) if clips else None
    loads, sensors = _latency(opened, machine, options)
    say("the listening process")
    outside = process.measure(opened, machine.name, options.backend, options.runs)
    command = shlex.join(["python", "export/report.py", *(sys.argv[1:] if argv is None else argv)])
    report = _report(opened, options, command, loads, sensors, outside, accuracy)
    versus = baseline.versus(report, old, options.baseline, options.tolerance) if old else None
    write(out, report, versus)
    print(msgspec.json.encode(report).decode() if options.json else table.table(report, versus))
    for line in versus.worse if versus else []:
        say(f"worse: {line.name} {line.old:.4g} -> {line.new:.4g}")
    return int(bool(versus and versus.worse))


def write(out: Path, report: Report, versus: baseline.Versus | None = None) -> None:
    """A folder with report.html and report.json, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        config.save_json(partial / "report.json", report)
        page.write(partial / "report.html", report, versus)
        partial.chmod(0o755)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _opened(options: argparse.Namespace) -> Bundle:
    """The bundle, with an engine that was built from it."""
    opened = bundle.open_bundle(options.bundle)
    if options.backend == "tensorrt" and opened.network is None:
        raise BundleError(f"{options.bundle}: has no network for an engine to run; leave --backend out")
    if options.engine:
        networks.check_engine(options.bundle, options.engine)
    return opened


def _latency(opened: Bundle, machine: Machine, options: argparse.Namespace) -> tuple[list[Load], Board]:
    model = opened.model
    network = options.engine if options.backend == "tensorrt" else opened.network
    backend = open_backend(network, model, options.backend)
    loads = []
    with board.Watch(options.root) as watch:
        for machines in options.machines:
            say(f"{machines} of {max(options.machines)} machines, {options.windows} windows")
            loads.append(pipeline.measure(model, machine, backend, machines, options.windows, options.rate))
    backend.close()
    return loads, watch.board(sum(load.windows for load in loads))


def _report(
    opened: Bundle,
    options: argparse.Namespace,
    command: str,
    loads: list[Load],
    sensors: Board,
    outside: Process,
    accuracy: Comparison | None,
) -> Report:
    model = opened.model
    made = sidecar.read(options.engine) if options.backend == "tensorrt" else None
    network = options.engine if made else opened.network
    measured = accuracy.accuracy if accuracy else opened.manifest.accuracy
    alone = [load.real_time_factor for load in loads if load.machines == 1]
    factor = {"file": outside.real_time_factor.value} | ({"live": alone[0]} if alone else {})
    return Report(
        format=FORMAT,
        version=__version__,
        commit=commit(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command,
        bundle=opened.folder.name,
        network=bundle.sha256(network) if network else "",
        backend=options.backend,
        form=made.precision if made else network.name if network else "",
        name=model.name,
        system=model.system,
        parameters=model.parameters,
        macs=model.macs,
        window_s=model.window / model.sample_rate,
        hop_s=model.hop / model.sample_rate,
        block_ms=1e3 * BLOCK_S,
        microphone_hz=options.rate,
        device=msgspec.structs.replace(board.device(options.root), gpu=made.gpu if made else ""),
        board=sensors,
        loads=loads,
        process=outside,
        told=opened.manifest.accuracy,
        data=str(options.data or ""),
        accuracy=accuracy,
        budgets=[
            *budgets.of_model(model),
            *budgets.of_speed(model, factor, outside.memory_mib.value, outside.first_ms.value),
            *budgets.of_accuracy(measured),
            *budgets.of_project(process.log_mel() if options.log_mel else None),
        ],
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", metavar="BUNDLE", type=Path)
    arguments.add_argument("-o", "--out", metavar="DIR", type=Path, default=Path("report"), help="new folder (report)")
    arguments.add_argument("--backend", choices=BACKENDS, default="onnxruntime", help="what runs the network")
    arguments.add_argument("--engine", metavar="FILE", type=Path, help="of export/build_engine.py, for tensorrt")
    arguments.add_argument("--data", metavar="DATA", type=Path, help="data set with labelled test clips: accuracy too")
    arguments.add_argument("--run", metavar="RUN", type=Path, help="run folder it comes from: accuracy of torch too")
    arguments.add_argument("--machine", metavar="NAME", help="whose references score (the bundle's first)")
    arguments.add_argument("--machines", type=int, nargs="+", default=MACHINES, metavar="N", help="how many (1 2 4 8)")
    arguments.add_argument("--windows", type=int, default=WINDOWS, metavar="N", help=f"of each number ({WINDOWS})")
    arguments.add_argument("--rate", type=int, default=MICROPHONE_HZ, help=f"of the microphone, Hz ({MICROPHONE_HZ})")
    arguments.add_argument("--runs", type=int, default=process.RUNS, help=f"of the process ({process.RUNS})")
    arguments.add_argument("--log-mel", action="store_true", help="time the log-mel against librosa: half a minute")
    arguments.add_argument("--baseline", metavar="OLD.json", type=Path, help="an older report.json")
    arguments.add_argument("--tolerance", type=float, default=0.1, metavar="X", help="ratio that is no loss (0.1)")
    arguments.add_argument("--json", action="store_true", help="print report.json instead of the table")
    arguments.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    for name in ("windows", "rate", "runs"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name} {getattr(options, name)}: give a whole number of 1 or more")
    if min(options.machines) < 1 or len(set(options.machines)) < len(options.machines):
        raise ConfigError(f"--machines {' '.join(map(str, options.machines))}: give different numbers of 1 or more")
    if options.engine and options.backend != "tensorrt" and not options.data:
        raise ConfigError(f"--engine {options.engine}: nothing here runs it; give --backend tensorrt, or --data")
    if not (math.isfinite(options.tolerance) and options.tolerance >= 0.0):
        raise ConfigError(f"--tolerance {options.tolerance}: give a ratio of 0 or more, such as 0.1")
    if importlib.util.find_spec("jinja2") is None:
        raise ConfigError("the Python package jinja2 is missing, which report.html is made with; pip install jinja2")
    if options.run and not options.data:
        raise ConfigError("--run is for accuracy, which needs --data DATA")
    if options.backend == "tensorrt" and options.engine is None:
        raise ConfigError("--backend tensorrt: give --engine FILE; export/build_engine.py builds one")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
