"""Enrol a machine on site: references and threshold for a bundle that stays as it is, in a file that lies beside it.

    python -m edge_runtime record fan --device NAME --clips 120      20 minutes of the healthy machine
    python calib/enroll.py fan.bundle --data fan --out fan.npz       then, in the site file: references: fan.npz

The file is bound to the bundle's model: with any other it does not open. The threshold is as promised by calib/fit.py.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib import thresholds
from calib.collect import collect
from calib.fit import of_known_types, training_clips
from calib.machines import fit_machines
from edge_runtime.backends import open_backend
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import ConfigError, DataError
from edge_runtime.machine_file import save_machine
from edge_runtime.scoring import Machine


def enrol(bundle: Bundle, data: Path, name: str | None, rate: float, seed: int) -> Machine:
    """Fit the one machine of the data, or the one named, with what the bundle listens with."""
    clips = of_known_types(training_clips(data, [name] if name else []), bundle.model, data)
    names = sorted({clip.machine for clip in clips})
    if len(names) > 1:
        raise DataError(f"{data}: several machines, {', '.join(names)}; choose one with --machine")
    say(f"embedding {len(clips)} normal clips")
    backend = open_backend(bundle.network, bundle.model)
    try:
        collected = collect(clips, bundle.model, backend, progress=True)
    finally:
        backend.close()
    return fit_machines(collected, bundle.model.scoring, seed, rate, bundle.model.classes)[names[0]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    if not 0.0 < options.rate < 1.0:
        raise ConfigError(f"--rate {options.rate}: give a ratio between 0 and 1, such as 0.01")
    out, bundle = new_path(options.out), open_bundle(options.bundle)
    if out.resolve().is_relative_to(bundle.folder.resolve()):
        raise ConfigError(f"--out {out}: inside the bundle, which never changes once packed; give a path beside it")
    machine = enrol(bundle, options.data, options.machine, options.rate, options.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_machine(out, machine, bundle.model_hash)
    print(f"{out}: {machine.name}, threshold {machine.threshold:.4g} ({machine.promise})")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path)
    arguments.add_argument("--data", type=Path, required=True, help="data set, or a folder of `edge_runtime record`")
    arguments.add_argument("--out", type=Path, required=True, help="file to write; must not exist")
    arguments.add_argument("--machine", help="of the data, where it has several")
    arguments.add_argument(
        "--rate", type=float, default=thresholds.FALSE_ALARM_RATE, help="false alarms per normal window"
    )
    arguments.add_argument("--seed", type=int, default=0, help="of folds and k-means")
    return arguments.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
