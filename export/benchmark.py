"""Train and judge systems one beside another, on the same clips, with what needs no training.

    python export/benchmark.py --data DATA --systems all --seeds 3 --out OUT
    python export/benchmark.py --data DATA --systems featex,tfap_edge --set featex:training.epochs=14 --out OUT
    python export/benchmark.py --data DATA --train-data DATA2 --systems all --runs RUNS --out OUT
    python export/benchmark.py --data DATA --systems tfap_edge --ablate tfap_edge:mixup=none --out OUT
    python export/benchmark.py --list --json

Networks are trained on the normal training clips of DATA (or DATA2), references and thresholds fitted on those of DATA,
and its test clips judge. What is done is not done again, what was interrupted goes on: give the same --out, or another
with the same --runs. OUT gets results.json, results.md, results.html, official/ (score and decision files), scored/,
logs/ and runs/; results are of the systems asked for last. Every detector without a network is always beside. With
--ablate a table says what a part of a system contributes: the whole less the system without it, over the same
resamples. Exit code 1: a job failed, and its row says why.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait sleep

import msgspec

from calib.checkout import commit
from edge_runtime import __version__, config
from edge_runtime.cli import parser, run_command, say
from edge_runtime.errors import ConfigError
from export.bench import jobs, page, registry, results, tables
from export.bench.ablations import file_name
from export.bench.jobs import Done
from export.bench.plan import Plan, Request, plan
from export.bench.results import Results
from export.page import words

MARK = "benchmark.json"  # in OUT: what makes it one, and what of
SAME = ("data", "train_data", "target_clips", "window_frames")  # options that cannot change within OUT


def benchmark(request: Request, command: str = "") -> Results:
    """Do all that is asked and not done yet, and write everything into OUT."""
    check(request)
    planned = plan(request)
    request.out.mkdir(parents=True, exist_ok=True)
    config.save_json(request.out / MARK, _same(request))
    for name, reason in planned.missing.items():
        say(f"{name}: {reason}")
    told = {"version": __version__, "commit": commit(), "command": command}
    done = jobs.run(planned)
    write_official(planned, done)
    found = results.judge(planned, done, told)
    config.save_json(request.out / "results.json", found)
    config.save_text(request.out / "results.md", tables.markdown(found))
    page.write(request.out / "results.html", found, planned, done)
    return found


def check(request: Request) -> None:
    """Refuse what cannot be asked, and a folder that is something else."""
    for option, value, least in (("--seeds", request.seeds, 1), ("--jobs", request.jobs, 1)):
        if value < least:
            raise ConfigError(f"{option} {value}: give a whole number of {least} or more")
    if request.target_clips is not None and request.target_clips < 0:
        raise ConfigError(f"--target-clips {request.target_clips}: give a whole number of 0 or more")
    mark = request.out / MARK
    if mark.exists():
        before, now = config.load_json(mark, dict[str, str | int | None]), _same(request)
        for name in SAME:
            if before.get(name) != now[name]:
                asked = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"--out {request.out}: a benchmark with {asked} {before.get(name)}, not {now[name]}; "
                    "give another --out, and --runs with the folder of networks to use them again"
                )
    elif request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise ConfigError(f"--out {request.out}: holds something else than a benchmark; give another path")


def _same(request: Request) -> dict[str, str | int | None]:
    paths = {name: None if (at := getattr(request, name)) is None else str(at.resolve()) for name in SAME[:2]}
    return {**paths, **{name: getattr(request, name) for name in SAME[2:]}}


def write_official(planned: Plan, done: Done) -> None:
    """OUT/official/NAME/seed_K/: what calib/metrics.py reads."""
    from train.evaluate import write

    for name, seeds in done.scored.items():
        for seed, scored in seeds.items():
            for machine, scores in scored.scores.items():
                clips = [clip for clip in planned.trial.test if clip.machine == machine]
                folder = planned.request.out / "official" / file_name(name) / f"seed_{seed}"
                write(folder, clips, scores, scored.told.thresholds[machine])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    if options.list:
        return _list(options.json)
    if options.data is None or options.out is None:
        raise ConfigError("give --data DATA and --out OUT, or --list")
    names = ("data", "out", "train_data", "runs", "seeds", "window_frames", "target_clips", "int8", "jobs")
    asked = {name: getattr(options, name) for name in names}
    request = Request(**asked, systems=registry.chosen(options.systems), changes=options.set, ablations=options.ablate)
    command = shlex.join(["python", "export/benchmark.py", *(sys.argv[1:] if argv is None else argv)])
    found = benchmark(request, command)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print(tables.markdown(found), end="")
    say(f"{request.out / 'results.html'} has the same with charts")
    return 1 if any(system.failed for system in found.systems) else 0


def _list(as_json: bool) -> int:
    listed = registry.listing()
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(listed)).decode())
        return 0
    print(f"{'name':28}{'kind':10}{'parameters':>12}{'macs':>16}{'flops':>16}  title")
    for one in listed:
        costs = [words.NONE if cost is None else f"{cost:,}" for cost in (one.parameters, one.macs, one.flops)]
        print(f"{one.name:28}{one.kind:10}{costs[0]:>12}{costs[1]:>16}{costs[2]:>16}  {one.title}")
    print(f"a window of 311 frames; networks with {registry.CLASSES} classes; detectors have nothing to train")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, help="data set whose machines are fitted and judged")
    arguments.add_argument("--out", type=Path, help="folder of the benchmark, new or begun")
    arguments.add_argument("--systems", nargs="+", default=["all"], metavar="NAME", help="all, or names of --list")
    arguments.add_argument("--seeds", type=int, default=1, metavar="N", help="train seeds 0 to N-1 (1)")
    arguments.add_argument("--train-data", type=Path, metavar="DATA2", help="data set that networks are trained on")
    arguments.add_argument("--runs", type=Path, help="folder of trained networks (default OUT/runs)")
    arguments.add_argument(
        "--set", action="append", default=[], metavar="[NAME:]KEY=VALUE", help="of one system, or of all"
    )
    arguments.add_argument(
        "--ablate",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="one more row: a system with a part of it off or changed (several settings: apart by ;)",
    )
    arguments.add_argument("--window-frames", type=int, help="default: the smaller of 311 and the shortest clip")
    arguments.add_argument(
        "--target-clips", type=int, metavar="N", help="target clips a machine's references come from"
    )
    arguments.add_argument("--int8", choices=("first", "all", "none"), default="first", help="seeds that are quantized")
    arguments.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="J", help="processes (default: one a core)"
    )
    arguments.add_argument("--list", action="store_true", help="print what there is, and stop")
    arguments.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return arguments.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
