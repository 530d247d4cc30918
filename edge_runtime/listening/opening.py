"""From a site to a running service: bundles opened, machines checked against them, microphones, outputs and journal."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from edge_runtime import features, utc
from edge_runtime.alarm import Condition
from edge_runtime.alarm.condition import begins
from edge_runtime.backends import Backend, Pooled, open_backend
from edge_runtime.backends.guarded import Guarded
from edge_runtime.backends.standby import Change, Standby
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.capture import Source
from edge_runtime.detector import Detector, Ear
from edge_runtime.errors import ConfigError
from edge_runtime.listening import events
from edge_runtime.listening.annunciator import Annunciator
from edge_runtime.listening.monitor import Monitor
from edge_runtime.listening.panel import Panel
from edge_runtime.listening.post import Group, Post
from edge_runtime.machine_file import load_machine
from edge_runtime.outputs import Output
from edge_runtime.saving import Saver
from edge_runtime.scoring import Machine
from edge_runtime.site_file import MachineSettings, Site, SiteOfFile, naming

BY_HAND = "set by hand, no rate promised"
LOOK_S = 10.0  # between two looks at whether a bundle was replaced
RATE = features.SAMPLE_RATE  # Hz: what normal spectra are of
NOTES = 64  # that wait to be told
STARTS_S = 4.0  # seconds that a microphone may take to begin


class Placed(msgspec.Struct, frozen=True):
    """A machine of the site with its bundle opened and everything checked."""

    name: str
    settings: MachineSettings
    bundle: Bundle
    machine: Machine  # under the site's name, with the site's threshold

    @property
    def above(self) -> float:
        """The score above which a window counts for an alarm."""
        return begins(self.settings.alarm.alarm, self.machine)

    @property
    def promise(self) -> str:
        """What that threshold promises."""
        return self.machine.promise if self.above == self.machine.threshold else BY_HAND


def place(site: Site) -> list[Placed]:
    """Open every bundle once and check every machine against its own."""
    opened: dict[str, Bundle] = {}
    placed = []
    for name, settings in site.machines.items():
        with naming(site, f"machines.{name}"):
            if settings.bundle not in opened:
                opened[settings.bundle] = open_bundle(settings.bundle)
            of_file = isinstance(site, SiteOfFile)
            placed.append(_placed(name, settings, opened[settings.bundle], of_file))
    return placed


def _placed(name: str, settings: MachineSettings, bundle: Bundle, of_file: bool) -> Placed:
    machine, model = _machine(settings, bundle, of_file), bundle.model
    if model.sample_rate != RATE:
        raise ConfigError(f"{settings.bundle} listens at {model.sample_rate} Hz; wanted {RATE} Hz")
    shortest_s = (model.window + model.hop) / model.sample_rate
    if settings.alarm.not_listening_s <= shortest_s:
        raise ConfigError(
            f"alarm.not_listening_s {settings.alarm.not_listening_s:g}: a window and a hop take {shortest_s:.1f} s; "
            "give more"
        )
    if settings.threshold is not None:
        machine = msgspec.structs.replace(machine, threshold=settings.threshold, promise=BY_HAND)
    Condition(settings.alarm, msgspec.structs.replace(machine, name="alarm"), RATE)  # do its levels fit the machine?
    return Placed(name, settings, bundle, msgspec.structs.replace(machine, name=name))


def _machine(settings: MachineSettings, bundle: Bundle, of_file: bool) -> Machine:
    """The references of the bundle, or those that were enrolled on site with the same model."""
    known = ", ".join(bundle.machines)
    if settings.references is None:
        if of_file and settings.machine is None and len(bundle.machines) > 1:
            raise ConfigError(f"{bundle.folder} knows several machines; say which: machine: one of {known}")
        return bundle.machine(settings.machine)
    if settings.machine is not None and settings.machine not in bundle.machines:
        raise ConfigError(
            f"{bundle.folder}: unknown machine {settings.machine}; it knows {known}; leave `machine:` out, the "
            "references are of one"
        )
    return load_machine(Path(settings.references), bundle.model_hash)


class Networks:
    """A backend for each bundle, whoever hears with it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._backends: dict[Path, Backend] = {}
        self._asked: dict[tuple[Path, str], Callable[[], Iterable[Change]]] = {}

    def of(self, bundle: Bundle) -> Backend:
        """Opened once."""
        if bundle.folder not in self._backends:
            guarded = Guarded(lambda: self.opened(bundle))
            self._backends[bundle.folder] = guarded
            self._asked[bundle.folder, "network"] = guarded.changes
        return self._backends[bundle.folder]

    def changes(self) -> Iterator[Change]:
        """Who computes now, and why, since this was last asked."""
        for asked in list(self._asked.values()):
            yield from asked()

    def close(self) -> None:
        """All of them."""
        for backend in self._backends.values():
            backend.close()

    def opened(self, bundle: Bundle) -> Backend:
        """Its backend, if what lies on disk is still what the references are for."""
        bundle.check_network()
        if self._name == "onnxruntime" or bundle.network is None:
            return open_backend(bundle.network, bundle.model)
        from edge_runtime.backends.ort import OnnxRuntime
        from edge_runtime.engine.ready import Engines

        standby = Standby(OnnxRuntime(bundle.network), Engines(bundle))
        self._asked[bundle.folder, "engine"] = standby.changes  # of the one of now
        return Pooled(bundle.model, standby)


class Bundles:
    """Looks now and then whether a bundle on disk is still the one that was opened."""

    def __init__(self, bundles: Iterable[Bundle], clock: Callable[[], float] = time.monotonic) -> None:
        self._bundles, self._clock, self._looked = list(bundles), clock, clock()

    def changes(self) -> Iterator[tuple[str, str]]:
        """(bundle, what became of it) since this was last asked; each is told once."""
        if self._clock() - self._looked < LOOK_S:
            return
        self._looked = self._clock()
        for bundle in list(self._bundles):
            if not bundle.unchanged():
                self._bundles.remove(bundle)
                yield f"bundle {bundle.folder}", "replaced or gone; what was opened goes on listening until a restart"


def posts(
    placed: Sequence[Placed],
    sources: Mapping[str, Source],
    networks: Networks,
    panel: Panel,
    saver: Saver | None = None,
) -> list[Post]:
    """A post for each microphone by name; machines of one bundle on it in one batch."""
    made = []
    for name, source in sources.items():
        here = [one for one in placed if one.settings.microphone == name]
        columns = {channel: column for column, channel in enumerate(channels(here))}
        groups = []
        for folder in dict.fromkeys(one.bundle.folder for one in here):
            machines = [one for one in here if one.bundle.folder == folder]
            groups.append(_group(machines, columns, networks, panel))
        made.append(Post(name, source, groups, saver))
    return made


def channels(placed: Iterable[Placed]) -> list[int]:
    """The channels of one microphone that machines are heard on."""
    return sorted({one.settings.channel for one in placed})


def _group(machines: Sequence[Placed], columns: Mapping[int, int], networks: Networks, panel: Panel) -> Group:
    bundle = machines[0].bundle
    ears = [Ear(one.machine, columns[one.settings.channel], one.settings.quality) for one in machines]
    monitors = [_monitor(one, panel) for one in machines]
    return Group(Detector(bundle.model, networks.of(bundle), ears), monitors)


def _monitor(placed: Placed, panel: Panel) -> Monitor:
    """As the panel remembers it from before a restart."""
    level = panel.status(placed.name).level
    listening = panel.status(placed.name, "not_listening").level == "normal"
    return Monitor(placed.machine, placed.settings.alarm, placed.bundle.model, level, listening)


class Notes:
    """What is to be told once the listening has begun, and whatever goes wrong with the journal later."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str]] = deque(maxlen=NOTES)

    def add(self, about: str, words: str) -> None:
        """One line, about one thing."""
        self._waiting.append((about, words.removeprefix("warning: ")))

    def take(self) -> Iterator[tuple[str, str]]:
        """(about what, words) since this was last asked."""
        while self._waiting:
            yield self._waiting.popleft()

    def watchdog(self, watchdog_s: float | None, placed: Iterable[Placed]) -> None:
        """systemd must not kill who waits for the first window."""
        model = max((one.bundle.model for one in placed), key=lambda model: model.window + model.hop)
        least_s = (model.window + model.hop) / model.sample_rate + STARTS_S
        if watchdog_s is not None and watchdog_s < least_s:
            self.add("watchdog", f"WatchdogSec={watchdog_s:g} is short: the first window takes up to {least_s:.0f} s")


def annunciator(site: Site) -> Annunciator:
    """Every output, opened, with the machines that it is for."""
    if not site.outputs:
        return Annunciator()
    from edge_runtime.outputs.open import open_output

    with naming(site):
        outputs: dict[str, Output] = {
            name: open_output(name, settings, site=site.name, state=site.state)
            for name, settings in site.outputs.items()
        }
    return Annunciator(outputs, {name: _served(site, name) for name in outputs})


def _served(site: Site, output: str) -> list[str]:
    return [name for name, machine in site.machines.items() if machine.outputs is None or output in machine.outputs]


def starts(placed: Iterable[Placed], sources: Mapping[str, Source]) -> Iterator[events.Start]:
    """What is told of each machine when the listening begins."""
    for one in placed:
        model = one.bundle.model
        yield events.Start(
            time=utc.now("seconds"),
            bundle=str(one.bundle.folder),
            machine=one.name,
            threshold=one.machine.threshold,
            promise=one.promise,
            alarm_above=None if one.above == one.machine.threshold else one.above,
            window_s=model.window / model.sample_rate,
            hop_s=model.hop / model.sample_rate,
            source=sources[one.settings.microphone].name,
        )
