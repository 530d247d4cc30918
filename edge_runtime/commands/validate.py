"""Check a site file before anything listens: every field, every bundle's hashes, every machine, every output.

    python -m edge_runtime validate SITE.yaml            what would listen to what; exit code 2 if it cannot
    python -m edge_runtime validate SITE.yaml --json
    python -m edge_runtime validate --schema             every field as a JSON Schema, for an editor

No microphone is opened and no output fired: `python -m edge_runtime doctor SITE.yaml` does that.
"""

import argparse
from collections.abc import Iterator

import msgspec

from edge_runtime.errors import ConfigError
from edge_runtime.listening.opening import Placed, place
from edge_runtime.outputs.open import check_output
from edge_runtime.outputs.settings import WebhookSettings
from edge_runtime.site_file import Site, load_site, naming


class Checked(msgspec.Struct, frozen=True):
    """One machine, as it would be listened to."""

    machine: str
    bundle: str
    system: str
    microphone: str  # by its name in the file
    device: str
    channel: int
    threshold: float
    promise: str
    window_s: float
    hop_s: float
    outputs: list[str]


def run(options: argparse.Namespace) -> int:
    """The command."""
    if options.schema:
        print(msgspec.json.format(msgspec.json.encode(msgspec.json.schema(Site))).decode())
        return 0
    if options.site is None:
        raise ConfigError("validate: no file; give SITE.yaml, or --schema")
    site = load_site(options.site)
    found = [_checked(site, placed) for placed in place(site)]
    for name, output in site.outputs.items():
        with naming(site):
            check_output(name, output)
    if options.json:
        print(msgspec.json.encode(found).decode())
        return 0
    for one in found:
        print("\n".join(_words(one)))
    none = "no state is kept: no `state:` is given, alarms do not survive a restart and nobody can acknowledge"
    if any(isinstance(output, WebhookSettings) for output in site.outputs.values()):
        none += "; a restart forgets what a webhook has not delivered"
    kept = none if site.state is None else f"state is kept in {site.state}"
    if site.recorder is not None:
        most = f"at most {site.recorder.budget_mb:g} MB for {site.recorder.keep_days:g} days"
        print(f"around every {site.recorder.level} is kept: {KEPT[site.recorder.privacy]}, {most}")
    else:
        print("no sound is kept: no `recorder:` is given")
    print(f"{options.site}: {len(found)} machine{'s' * (len(found) != 1)}, as it should be; {kept}")
    return 0


def _checked(site: Site, placed: Placed) -> Checked:
    settings, model = placed.settings, placed.bundle.model
    return Checked(
        machine=placed.name,
        bundle=settings.bundle,
        system=model.system,
        microphone=settings.microphone,
        device=site.microphones[settings.microphone].device or "default",
        channel=settings.channel,
        threshold=placed.above,
        promise=placed.promise,
        window_s=model.window / model.sample_rate,
        hop_s=model.hop / model.sample_rate,
        outputs=list(site.outputs) if settings.outputs is None else settings.outputs,
    )


def _words(one: Checked) -> Iterator[str]:
    yield one.machine
    yield f"  hears   {one.device}, channel {one.channel} ({one.microphone})"
    yield f"  with    {one.bundle}, {one.system}, {one.window_s:.2f} s every {one.hop_s:.2f} s"
    yield f"  alarms  above {one.threshold:.4g} ({one.promise})"
    yield f"  tells   {', '.join(one.outputs) or 'nobody: no outputs'}"


KEPT = {"sound": "the sound, which can hold voices", "features-only": "pictures, nothing that can be played"}
COMMANDS = {"validate": run}
