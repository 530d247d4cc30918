"""The site file: what one device listens to, with what, and whom it tells. YAML, decoded strictly.

    name: pump house
    state: /var/lib/auscult                 # a folder: alarms survive a restart, people's actions arrive
    microphones:
      left: {device: "usb:0d8c:0014:A1B2"}  # as `python -m edge_runtime devices` names it
    machines:
      fan:
        bundle: fan.bundle                  # paths are relative to this file
        machine: fan_section_00             # of the bundle; its only one where it has one
        microphone: left
        channel: 0                          # counted from 0
        alarm: {latching: true, alarm: {k: 3, of: 5}, warning: {on_delay_s: 10.0}}
        outputs: [beacon]                   # all of them where this is left out
    outputs:
      beacon: {kind: relay, chip: /dev/gpiochip0, line: 17}

`python -m edge_runtime validate SITE.yaml` checks one, `validate --schema` prints every field as a JSON Schema.
"""

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_runtime import config
from edge_runtime.alarm import AlarmSettings
from edge_runtime.capture import MicrophoneSettings
from edge_runtime.errors import ConfigError, SettingError
from edge_runtime.outputs.settings import Settings as OutputSettings
from edge_runtime.outputs.settings import SoundSettings
from edge_runtime.quality import QualitySettings

NAME = re.compile(r"[\w.-]+( [\w.-]+)*")  # of machines, microphones and outputs


class MachineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine that is listened to."""

    bundle: str  # folder
    microphone: str  # name of one of the site's
    machine: str | None = None  # of the bundle; None: its only one
    channel: Annotated[int, Meta(ge=0)] = 0  # of the microphone, counted from 0
    references: str | None = (
        None  # file of `calib/fit.py BUNDLE --references`: enrolled on site, instead of the bundle's
    )
    threshold: float | None = None  # instead of the bundle's; nothing is promised then
    quality: QualitySettings = QualitySettings()
    alarm: AlarmSettings = AlarmSettings()
    outputs: list[str] | None = None  # names of the site's; None: all of them

    def __post_init__(self) -> None:
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise SettingError(f"threshold {self.threshold}: wanted a number; no score is above or below it")


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one device listens to."""

    machines: Annotated[dict[str, MachineSettings], Meta(min_length=1)]
    microphones: Annotated[dict[str, MicrophoneSettings], Meta(min_length=1)]
    outputs: dict[str, OutputSettings] = {}
    name: str = "site"
    state: str | None = None  # folder of the journal; None: nothing is kept, and nobody can acknowledge
    backend: Literal["onnxruntime", "tensorrt"] = "onnxruntime"


def load_site(path: str | Path) -> Site:
    """Decode a site file and check that its parts fit; its paths become those that this process can use."""
    site = config.load_yaml(path, Site)
    _check(site, path)
    base = Path(path).parent
    machines = {
        name: msgspec.structs.replace(
            machine, bundle=str(base / machine.bundle), references=_beside(base, machine.references)
        )
        for name, machine in site.machines.items()
    }
    outputs = {name: _found(base, output) for name, output in site.outputs.items()}
    return msgspec.structs.replace(site, machines=machines, outputs=outputs, state=_beside(base, site.state))


def of_bundle(
    machine: MachineSettings,
    microphone: MicrophoneSettings,
    outputs: dict[str, OutputSettings],
    state: str | None,
    backend: Literal["onnxruntime", "tensorrt"],
) -> Site:
    """The site of `run BUNDLE`: one machine, heard with one microphone."""
    return Site(
        machines={machine.machine or Path(machine.bundle).resolve().name: machine},
        microphones={machine.microphone: microphone},
        outputs=outputs,
        name=machine.bundle,
        state=state,
        backend=backend,
    )


def _beside(base: Path, path: str | None) -> str | None:
    return None if path is None else str(base / path)


def _found(base: Path, output: OutputSettings) -> OutputSettings:
    return (
        msgspec.structs.replace(output, file=str(base / output.file)) if isinstance(output, SoundSettings) else output
    )


def _check(site: Site, path: str | Path) -> None:
    for kind, names in (("machine", site.machines), ("microphone", site.microphones), ("output", site.outputs)):
        for name in names:
            if not NAME.fullmatch(name):
                raise ConfigError(f"{path}: {kind}s: {name!r}: a name is made of letters, digits, '.', '-' and '_'")
    for name, machine in site.machines.items():
        _known(f"{path}: machines.{name}.microphone", machine.microphone, site.microphones)
        for output in machine.outputs or ():
            _known(f"{path}: machines.{name}.outputs", output, site.outputs)
    used = {machine.microphone for machine in site.machines.values()}
    for name in site.microphones:
        if name not in used:
            raise ConfigError(f"{path}: microphones.{name}: no machine is heard with it; remove it, or name it at one")
    served = {name for machine in site.machines.values() for name in (machine.outputs or site.outputs)}
    for name in site.outputs:
        if name not in served:
            raise ConfigError(f"{path}: outputs.{name}: no machine uses it; remove it, or name it at one")


def _known(place: str, name: str, there: Collection[str]) -> None:
    if name not in there:
        raise ConfigError(f"{place}: unknown {name}; there is {', '.join(there) or 'none'}")
