"""A fitted model folder -> a bundle, which is all that a device needs.

    python export/pack.py MODEL --accuracy accuracy.json --out BUNDLE
    python export/pack.py MODEL --data DATA --out BUNDLE

The bundle gets the networks, the machines, a golden clip to replay on the device, and a manifest with the measured
accuracy: of the file that export/compare.py wrote, or measured now on DATA. Prints what is in it, and a warning for
whatever is over its budget.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib.checkout import commit
from calib.clips import index
from calib.golden import write_golden
from edge_runtime import bundle, config, machine_file
from edge_runtime.bundle import Manifest
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import BundleError, ConfigError
from export import budgets
from export.compare import Comparison, compare, hashes


def pack(folder: Path, out: Path, accuracy: Comparison | None = None) -> Manifest:
    """Write a bundle from a model folder whose machines are fitted."""
    if not any((folder / bundle.MACHINES).glob("*.npz")):
        raise BundleError(f"{folder}: no machine is fitted yet; run calib/fit.py on it first")
    if accuracy and accuracy.files != hashes(folder):
        changed = sorted(set(accuracy.files.items()) ^ set(hashes(folder).items()))
        raise ConfigError(
            f"{folder}: {changed[0][0]} is not what the accuracy was measured with; run export/compare.py"
        )
    write_golden(folder)
    return bundle.write_bundle(folder, out, accuracy.accuracy if accuracy else {}, commit())


def _contents(out: Path, manifest: Manifest) -> str:
    model = manifest.model
    lines = [
        f"{out}: {model.name} ({model.system}), format {manifest.format}, commit {manifest.commit or 'unknown'}",
        f"window {model.window / model.sample_rate:.3f} s, hop {model.hop / model.sample_rate:.3f} s, "
        f"{model.parameters:,} parameters, {2e-9 * model.macs:.3f} GFLOPs",
    ]
    lines += [f"  {(out / name).stat().st_size / 1024:9.1f} KiB  {name}" for name in manifest.files]
    for name in manifest.machines:
        machine = machine_file.load_machine(out / bundle.MACHINES / f"{name}.npz")
        lines.append(f"{name}: threshold {machine.threshold:.4g} ({machine.promise}){_measured(manifest, name)}")
    return "\n".join(lines)


def _measured(manifest: Manifest, name: str) -> str:
    figures = manifest.accuracy.get(name)
    return f", AUC {100 * figures.auc:.1f} %, pAUC {100 * figures.pauc:.1f} %" if figures else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("model", metavar="MODEL", type=Path, help="model folder that calib/fit.py has fitted")
    arguments.add_argument("--out", metavar="BUNDLE", type=Path, required=True, help="folder to write, must not exist")
    arguments.add_argument("--accuracy", metavar="FILE", type=Path, help="what export/compare.py wrote")
    arguments.add_argument("--data", metavar="DATA", type=Path, help="measure on this data set instead")
    options = arguments.parse_args(argv)
    out = new_path(options.out)
    bundle.load_model(options.model)
    if options.accuracy and options.data:
        raise ConfigError("give --accuracy FILE or --data DATA, not both")
    accuracy = config.load_json(options.accuracy, Comparison) if options.accuracy else None
    if options.data:
        accuracy = compare(options.model, index(options.data))
    if accuracy is None:
        say("warning: nothing was measured; give --accuracy or --data, or the manifest says no accuracy")
    manifest = pack(options.model, out, accuracy)
    print(_contents(out, manifest))
    for line in budgets.over(manifest.model, manifest.accuracy):
        say(f"warning: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
