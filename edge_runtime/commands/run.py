"""`python -m edge_runtime run SITE.yaml` or `run BUNDLE`: all is checked and opened, then the service listens."""

import argparse
import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.capture import MicrophoneSettings, Source
from edge_runtime.capture.files import FileSource
from edge_runtime.cli import new_path, say
from edge_runtime.errors import ConfigError
from edge_runtime.listening import events, keeping, opening, saying
from edge_runtime.listening.log import Log
from edge_runtime.listening.notify import Notify
from edge_runtime.listening.opening import Placed
from edge_runtime.listening.service import Service
from edge_runtime.listening.stopping import stop_signals
from edge_runtime.outputs.settings import CommandSettings
from edge_runtime.outputs.settings import Settings as OutputSettings
from edge_runtime.quality import QualitySettings
from edge_runtime.saving import Saver
from edge_runtime.site_file import MachineSettings, Site, load_site, of_bundle
from edge_runtime.sound import sound_files

OWN = (  # what a site file says itself
    *("machine", "threshold", "channel", "no_compare", "device", "rate", "on_delay", "off_delay", "command", "state"),
    "backend",
)
FILES_WAIT_S = 60.0  # that files, which come as fast as they are taken, wait for the disk


def run(options: argparse.Namespace) -> int:
    """Everything is checked before anything is made."""
    short = Path(options.target).is_dir() or not Path(options.target).exists()  # a path that is not there: as a bundle
    site = _short(options) if short else _file(options)
    placed = opening.place(site)
    file = new_path(options.events, "--events") if options.events else None
    kept = _recorded(options, placed)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        sources = _sources(options, site, placed, insist=not short)  # first: they begin while the networks are opened
        for source in sources.values():
            stack.callback(source.close)
        networks = opening.Networks(site.backend)
        stack.callback(networks.close)
        notify, notes = Notify(), opening.Notes()
        stack.callback(_say_rest, notes)
        notes.watchdog(notify.watchdog_s, placed)
        journal = keeping.journal(site, notes, stack)
        panel = keeping.panel(site, journal)
        saver = Saver(_made(kept), placed[0].bundle.model.sample_rate) if kept else None
        posts = opening.posts(placed, sources, networks, panel, saver)
        recording = keeping.recording(site, journal, placed, panel, notes, FILES_WAIT_S if options.file else 0.0)
        signs = keeping.signs(site, journal, placed, sources, notes, stack, recording)
        annunciator = opening.annunciator(site)
        tell = _teller(options, file, short, stop, stack)
        for start in opening.starts(placed, sources):
            tell(start)
        bundles = opening.Bundles({one.bundle.folder: one.bundle for one in placed}.values())
        notices = [bundles.changes, notes.take]
        service = Service(
            posts, tell, panel, annunciator, networks.changes, notices, notify, signs=signs, recording=recording
        )
        service.listen(stop, options.seconds)
    return 0


def _file(options: argparse.Namespace) -> Site:
    for name in OWN:
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')}: {options.target} is a site file, which says that itself")
    return load_site(options.target)


def _short(options: argparse.Namespace) -> Site:
    level = LevelSettings(on_delay_s=_or(options.on_delay, 30.0), off_delay_s=_or(options.off_delay, 60.0))
    machine = MachineSettings(
        bundle=options.target,
        microphone="microphone",
        machine=options.machine,
        channel=options.channel or 0,
        threshold=options.threshold,
        quality=QualitySettings(compare=not options.no_compare),
        alarm=AlarmSettings(alarm=level),
    )
    outputs: dict[str, OutputSettings] = (
        {"command": CommandSettings(command=options.command)} if options.command else {}
    )
    microphone = MicrophoneSettings(options.device or "default", rate=options.rate)
    return of_bundle(machine, microphone, outputs, options.state, options.backend or "onnxruntime")


def _sources(options: argparse.Namespace, site: Site, placed: list[Placed], insist: bool) -> dict[str, Source]:
    """A source for each microphone: the microphone itself, or the files that are heard in its place."""
    if not options.file and (options.realtime or options.fast):
        raise ConfigError("--realtime and --fast: a microphone has a pace of its own; use them with --file")
    sources: dict[str, Source] = {}
    files = sound_files(options.file) if options.file else []
    for name, settings in site.microphones.items():
        here = [one for one in placed if one.settings.microphone == name]
        models = [one.bundle.model for one in here]
        if len({model.sample_rate for model in models}) > 1:
            raise ConfigError(
                f"microphones.{name}: bundles of different sample rates; give each a microphone of its own"
            )
        rate, channels = models[0].sample_rate, opening.channels(here)
        if files:
            shortest = max(model.window for model in models)
            sources[name] = FileSource(files, rate, options.realtime, channels, shortest)
            continue
        from edge_runtime.capture.microphone import Microphone

        sources[name] = Microphone(settings, rate, channels, insist)
    return sources


def _recorded(options: argparse.Namespace, placed: list[Placed]) -> Path | None:
    if not options.save_audio:
        return None
    if len(placed) > 1:
        raise ConfigError("--save-audio keeps the sound of one machine, and the site has several; run its bundle alone")
    return new_path(options.save_audio, "--save-audio")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"--save-audio {folder}: {error.strerror}; give a path that can be written") from None
    return folder


def _say_rest(notes: opening.Notes) -> None:
    """What came when nobody listened any more."""
    for about, words in notes.take():
        say(f"{about}: {words}")


def _teller(
    options: argparse.Namespace, file: Path | None, short: bool, stop: threading.Event, stack: contextlib.ExitStack
) -> Callable[[events.Event], None]:
    """JSON lines to --events or, of a bundle, to stdout; of a site the log on stderr."""
    lines = None if file is None and not short else _lines(file, stop if options.file else None, stack)
    log = None if short else Log(sys.stderr)
    if log is not None:
        stack.callback(log.flush)

    def tell(event: events.Event) -> None:
        if lines is not None:
            lines(event)
        if log is not None:
            saying.say(log, event)
        if options.verbose and isinstance(event, events.Window):
            say(events.in_words(event))

    return tell


def _lines(file: Path | None, patient: threading.Event | None, stack: contextlib.ExitStack) -> events.Log:
    if file is None:
        return events.Log(sys.stdout, patient)
    try:
        log = events.Log(file.open("x"))
    except OSError as error:
        raise ConfigError(f"--events {file}: {error.strerror}; give a path that can be written") from None
    stack.callback(log.close)
    return log


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


COMMANDS = {"run": run}
