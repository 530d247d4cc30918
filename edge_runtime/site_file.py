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
        outputs: [beacon, mail]             # all of them where this is left out
    recorder: {privacy: sound, keep_days: 90.0}   # sound around alarms; nothing of it is kept where this is left out
    outputs:
      beacon: {kind: relay, chip: /dev/gpiochip0, line: 17}
      mail: {kind: command, command: ./mail-shift, "on": [raise]}   # in quotes: YAML reads a bare on as true
      shift: {kind: webhook, url: "https://example.org/alarms", token_file: shift.token}

Every path is relative to this file, `~` is the home of who listens: bundles, references, state, sounds, tokens, and
the program of a command where it has a slash. Any other program is looked for in PATH.

`python -m edge_runtime validate SITE.yaml` checks one, `validate --schema` prints every field as a JSON Schema.
"""

import math
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_runtime import config
from edge_runtime.alarm import AlarmSettings
from edge_runtime.bundle import read_manifest
from edge_runtime.capture import MicrophoneSettings
from edge_runtime.errors import AuscultError, ConfigError, SettingError
from edge_runtime.outputs.settings import CommandSettings, RelaySettings, SoundSettings, WebhookSettings
from edge_runtime.outputs.settings import Settings as OutputSettings
from edge_runtime.quality import QualitySettings
from edge_runtime.recorder.settings import RecorderSettings

NAME = re.compile(r"[\w.-]+( [\w.-]+)*")  # of machines, microphones and outputs


class MachineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine that is listened to."""

    bundle: str  # folder
    microphone: str  # name of one of the site's
    machine: str | None = None  # of the bundle; None: its only one
    channel: Annotated[int, Meta(ge=0)] = 0  # of the microphone, counted from 0
    references: str | None = None  # file of `calib/enroll.py BUNDLE --data DATA --out FILE`, instead of the bundle's
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
    recorder: RecorderSettings | None = None  # of the sound around alarms; None: no sound is kept


class SiteOfFile(Site, frozen=True):
    """A site that was read: what is found wrong with it later names its file too."""

    file: str = ""


def load_site(path: str | Path) -> Site:
    """Decode a site file and check that its parts fit; its paths become those that this process can use."""
    site = config.load_yaml(path, Site)
    base = Path(path).parent
    machines = {
        name: msgspec.structs.replace(
            machine, bundle=_beside(base, machine.bundle), references=_beside_or_none(base, machine.references)
        )
        for name, machine in site.machines.items()
    }
    outputs = {name: _found(base, output) for name, output in site.outputs.items()}
    state = _beside_or_none(base, site.state)
    found = msgspec.structs.replace(site, machines=machines, outputs=outputs, state=state)
    try:
        _check(found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return SiteOfFile(**{field: getattr(found, field) for field in Site.__struct_fields__}, file=str(path))


@contextmanager
def naming(site: Site, *places: str) -> Iterator[None]:
    """An error of the user's inside names the site file, and the place in it; the short form has neither."""
    try:
        yield
    except AuscultError as error:
        if not isinstance(site, SiteOfFile):
            raise
        raise type(error)(": ".join([site.file, *places, str(error)])) from None


def of_bundle(
    machine: MachineSettings,
    microphone: MicrophoneSettings,
    outputs: dict[str, OutputSettings],
    state: str | None,
    backend: Literal["onnxruntime", "tensorrt"],
) -> Site:
    """The site of `run BUNDLE`: one machine by its own name, heard with one microphone."""
    known = [machine.machine] if machine.machine is not None else read_manifest(Path(machine.bundle)).machines
    name = known[0] if len(known) == 1 else Path(machine.bundle).resolve().name
    return Site(
        machines={name: machine},
        microphones={machine.microphone: microphone},
        outputs=outputs,
        name=machine.bundle,
        state=state,
        backend=backend,
    )


def _beside(base: Path, path: str) -> str:
    try:
        return str(base / Path(path).expanduser())
    except RuntimeError:  # ~nobody
        return str(base / path)


def _beside_or_none(base: Path, path: str | None) -> str | None:
    return None if path is None else _beside(base, path)


def _found(base: Path, output: OutputSettings) -> OutputSettings:
    if isinstance(output, SoundSettings):
        return msgspec.structs.replace(output, file=_beside(base, output.file))
    if isinstance(output, CommandSettings):
        return msgspec.structs.replace(output, command=_command(base, output.command))
    if isinstance(output, WebhookSettings):
        token, ca = _beside_or_none(base, output.token_file), _beside_or_none(base, output.ca_file)
        return msgspec.structs.replace(output, token_file=token, ca_file=ca)
    return output


def _command(base: Path, command: str) -> str:
    """A program with a slash lies beside the file; all else of the command stays as it is written."""
    try:
        program, *words = shlex.split(command)
    except ValueError:  # unbalanced, or empty: `outputs.open.check_output` says so
        return command
    return shlex.join([_beside(base.absolute(), program), *words]) if "/" in program else command


def _check(site: Site) -> None:
    for kind, names in (("machine", site.machines), ("microphone", site.microphones), ("output", site.outputs)):
        for name in names:
            if not NAME.fullmatch(name):
                raise ConfigError(f"{kind}s: {name!r}: a name is made of letters, digits, '.', '-' and '_'")
    for name, machine in site.machines.items():
        _known(f"machines.{name}.microphone", machine.microphone, site.microphones)
        _check_named(f"machines.{name}.outputs", machine.outputs or [], site.outputs)
    _check_folders(site)
    used = {machine.microphone for machine in site.machines.values()}
    for name in site.microphones:
        if name not in used:
            raise ConfigError(f"microphones.{name}: no machine is heard with it; remove it, or name it at one")
    for name in site.outputs:
        if not any(machine.outputs is None or name in machine.outputs for machine in site.machines.values()):
            raise ConfigError(f"outputs.{name}: no machine uses it; remove it, or name it at one")
    _check_relays(site.outputs)
    if site.recorder is not None and site.state is None:
        raise ConfigError("recorder: events are kept in the state folder, and there is none; give `state: FOLDER`")
    if site.state is not None and Path(site.state).exists() and not Path(site.state).is_dir():
        raise ConfigError(f"state: {site.state} is a file; give a folder")


def _check_folders(site: Site) -> None:
    """What is recorded of a machine lies in folders of its name, where a space is an underscore."""
    names: dict[str, str] = {}
    for name in site.machines if site.recorder is not None else ():
        other = names.setdefault(name.replace(" ", "_"), name)
        if other != name:
            raise ConfigError(f"machines: {other!r} and {name!r} would share their recordings; give one another name")


def _check_named(place: str, outputs: list[str], there: Collection[str]) -> None:
    for number, name in enumerate(outputs):
        _known(place, name, there)
        if name in outputs[:number]:
            raise ConfigError(f"{place}: {name} is there twice; name it once")


def _check_relays(outputs: Mapping[str, OutputSettings]) -> None:
    """A line has one relay."""
    lines: dict[tuple[Path, int | str], str] = {}
    for name, output in outputs.items():
        if not isinstance(output, RelaySettings):
            continue
        if output.line == "" or (isinstance(output.line, int) and output.line < 0):
            raise ConfigError(f"outputs.{name}.line {output.line}: wanted 0 or more, or a name")
        line = Path(output.chip).resolve(), output.line
        if line in lines:
            raise ConfigError(
                f"outputs.{name}: {output.chip}, line {output.line} is the relay {lines[line]} too; give another line"
            )
        lines[line] = name


def _known(place: str, name: str, there: Collection[str]) -> None:
    if name not in there:
        raise ConfigError(f"{place}: unknown {name}; there is {', '.join(there) or 'none'}")
