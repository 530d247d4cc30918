"""What is examined: a site, a bundle alone, or a board with its default microphone."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge_runtime.bundle import open_bundle
from edge_runtime.capture import MicrophoneSettings, Source
from edge_runtime.errors import ConfigError
from edge_runtime.listening.opening import Placed, place
from edge_runtime.outputs.settings import Settings as OutputSettings
from edge_runtime.quality import QualitySettings
from edge_runtime.site_file import MachineSettings, Site, load_site, of_bundle

Opened = Callable[[MicrophoneSettings, int, Sequence[int]], Source]  # settings, Hz, channels
ALONE = "microphone"  # the name of one that no site names


def open_microphone(settings: MicrophoneSettings, rate: int, channels: Sequence[int]) -> Source:
    """Heard, or a DeviceError."""
    from edge_runtime.capture.microphone import Microphone

    return Microphone(settings, rate, channels, insist=False)


class Patient:
    """All that the checks ask for; bundles are opened by the first that asks."""

    def __init__(
        self, site: Site | None, device: str, seconds: float, fire: bool = False, open_source: Opened = open_microphone
    ) -> None:
        self.site, self.seconds, self.fire, self.open_source = site, seconds, fire, open_source
        self._device = device
        self._placed: list[Placed] | None = None

    @property
    def microphones(self) -> dict[str, MicrophoneSettings]:
        """By name."""
        return self.site.microphones if self.site is not None else {ALONE: MicrophoneSettings(self._device)}

    @property
    def outputs(self) -> dict[str, OutputSettings]:
        """By name."""
        return self.site.outputs if self.site is not None else {}

    @property
    def placed(self) -> list[Placed]:
        """The machines with their bundles; raises what is wrong with one, and is then without machines."""
        if self._placed is None:
            self._placed = []
            if self.site is not None:
                self._placed = place(self.site)
        return self._placed

    @property
    def state(self) -> Path:
        """The folder of the journal, or the one that the listener would run in."""
        return Path(self.site.state if self.site is not None and self.site.state is not None else ".")


def admit(options: argparse.Namespace) -> Patient:
    """What was typed -> what is examined."""
    target, device = options.target, options.device or "default"
    if target is None:
        if options.machine:
            raise ConfigError("--machine: of which bundle? Give its folder")
        return Patient(None, device, options.seconds, options.fire)
    if not Path(target).is_dir():
        if options.machine or options.device:
            raise ConfigError(f"--machine, --device: {target} is a site file, which names them itself")
        return Patient(load_site(target), device, options.seconds, options.fire)
    return Patient(_alone(target, options.machine, device), device, options.seconds, options.fire)


def _alone(bundle: str, machine: str | None, device: str) -> Site:
    """A bundle as a site. Of several machines without a name the first stands for all, and is not compared with."""
    machines = open_bundle(bundle).machines
    unknown = machine is None and len(machines) > 1
    settings = MachineSettings(bundle=bundle, microphone=ALONE, machine=machines[0] if unknown else machine)
    if unknown:
        settings = msgspec.structs.replace(settings, quality=QualitySettings(compare=False))
    return of_bundle(settings, MicrophoneSettings(device), {}, None, "onnxruntime")
