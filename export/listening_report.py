"""Make a page from a listening run: score over time, threshold, alarm, spectrogram. One HTML file that loads nothing.

    python -m edge_runtime run BUNDLE --machine fan --file fan.wav --events fan.jsonl
    python export/listening_report.py --bundle BUNDLE --machine fan --events fan.jsonl --audio fan.wav --out report.html

Several files are given in the order in which they were listened to. Where the second at which a fault begins is
known, --fault-at SECONDS marks it and counts the seconds to the alarm and the false alarms before it.
"""

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec
import numpy as np

from edge_runtime import __version__
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import ConfigError
from edge_runtime.features import LogMel
from edge_runtime.sound import read_blocks, sound_files
from export.page import charts, spectrogram, view, words
from export.page.content import Estimate, Facts, Listening, Method, Page, Row, Spans, Spectrogram
from export.page.runs import Run, outcome, parse, read_events
from export.page.write import write_page

__all__ = [
    "Estimate",
    "Facts",
    "Listening",
    "Method",
    "Page",
    "Row",
    "Spans",
    "Spectrogram",
    "facts",
    "outcome",
    "write_report",
]

VERDICTS = {
    "better": "▲ better",
    "equal": "◆ no difference shown",
    "worse": "▼ worse",
    "unknown": "◇ no interval",
}
HEIGHTS = {"score": charts.SCORE, "strip": charts.STRIP, "image": charts.IMAGE, "across": charts.ACROSS}


def write_report(out: Path, page: Page) -> None:
    """Write the page, whole or not at all."""
    write_page(
        out,
        "listening.html.j2",
        page=page,
        facts=view.facts(page.facts),
        findings=[said for said in (words.headline(page.table), words.alarms(page)) if said],
        views=[view.view(listening, len(page.listening)) for listening in page.listening],
        window=_window(page),
        words=words,
        clips=view.clips,
        plain=msgspec.to_builtins,
        share=lambda value: round(100 * min(max((value - 0.5) / 0.5, 0.0), 1.0), 2),
        minus=lambda value: str(value).replace("-", words.MINUS),
        verdicts=VERDICTS,
        heights=HEIGHTS,
        version=__version__,
    )


def _window(page: Page) -> str:
    if page.facts.window_s is None:
        return ""
    hop = "" if page.facts.hop_s is None else f", a new one every {page.facts.hop_s:.2f} s"
    return f"{page.facts.window_s:.2f} s{hop}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = parser(__doc__)
    arguments.add_argument("--bundle", required=True, help="the bundle that listened")
    arguments.add_argument("--machine", help="which of its machines; not needed where it knows only one")
    arguments.add_argument("--name", help="of the machine in the site file, where that is not the bundle's")
    arguments.add_argument("--events", required=True, type=Path, help="what `run … --events` wrote")
    arguments.add_argument("--audio", metavar="FILE", nargs="+", default=[], help="files, or what --save-audio kept")
    arguments.add_argument("--channel", type=int, default=0, help="of a sound file with several; from 0")
    arguments.add_argument("--fault-at", type=float, help="second of sound at which the fault begins, if known")
    arguments.add_argument("--out", required=True, help="HTML file to write; must not exist")
    options = arguments.parse_args(argv)
    out = new_path(options.out)
    if options.fault_at is not None and not (math.isfinite(options.fault_at) and options.fault_at >= 0):
        raise ConfigError(f"--fault-at {options.fault_at}: wanted a second of the sound, 0 or later")
    bundle = open_bundle(options.bundle)
    listening = _listening(bundle, options.machine, options.name, options.events, options.fault_at)
    if options.audio:
        sound = _sound(sound_files(options.audio), options.channel, _log_mel(bundle), parse(listening.events))
        listening = msgspec.structs.replace(listening, audio=sound)
    command = shlex.join(["python", "export/listening_report.py", *(sys.argv[1:] if argv is None else argv)])
    write_report(out, _page(bundle, listening, command))
    print(out)
    return 0


def _listening(bundle: Bundle, of: str | None, name: str | None, file: Path, fault_at_s: float | None) -> Listening:
    machine = bundle.machine(of)
    name = name or machine.name
    events = read_events(file, name)
    start = parse(events).start
    seconds, false = (None, None) if fault_at_s is None else outcome(events, fault_at_s)
    return Listening(
        machine=name,
        threshold=machine.threshold if start is None else start.threshold,
        promise=machine.promise if start is None else start.promise,
        events=events,
        fault_at_s=fault_at_s,
        seconds_to_alarm=seconds,
        false_alarms=false,
    )


def _log_mel(bundle: Bundle) -> LogMel:
    """The model's own log-mel, or the default one at its sample rate."""
    specs = [spec for spec in bundle.model.inputs.values() if isinstance(spec, LogMel)]
    rate = bundle.model.sample_rate
    return specs[0] if specs else LogMel(sample_rate=rate, f_max=rate / 2)


def _sound(files: list[Path], channel: int, spec: LogMel, run: Run) -> Spectrogram:
    """Each file where its recording begins; where their numbers differ, one after the other."""
    sounds = [np.concatenate(list(read_blocks(file, spec.sample_rate, channel, 10.0))) for file in files]
    lengths = [len(sound) / spec.sample_rate for sound in sounds]
    begins = [recording.at_s for recording in run.recordings]
    if len(begins) != len(files):
        begins = np.cumsum([0.0, *lengths[:-1]]).tolist()
    if run.ended and abs(begins[-1] + lengths[-1] - run.seconds) > 1.0:
        say(f"the sound ends at {begins[-1] + lengths[-1]:.1f} s, the run at {run.seconds:.1f} s: is it the same?")
    return spectrogram.compute(list(zip(begins, sounds, strict=True)), spec)


def facts(bundle: Bundle, command: str) -> Facts:
    """What a bundle says of itself, and the command that made the page."""
    manifest, model = bundle.manifest, bundle.model
    return Facts(
        machines=len(bundle.machines),
        model=", ".join(dict.fromkeys([model.name, model.system])) + ("" if bundle.network else ", no network"),
        parameters=model.parameters or None,
        macs=model.macs or None,
        window_s=model.window / model.sample_rate,
        hop_s=model.hop / model.sample_rate,
        created=manifest.created,
        commit=manifest.commit,
        versions={"auscult": manifest.version},
        command=command,
    )


def _page(bundle: Bundle, listening: Listening, command: str) -> Page:
    return Page(
        title=f"Listening to {listening.machine}",
        facts=facts(bundle, command),
        table=_table(bundle, listening),
        listening=[listening],
    )


def _table(bundle: Bundle, listening: Listening) -> list[Row]:
    """The accuracy that the bundle carries of this machine, if it does."""
    measured = bundle.manifest.accuracy.get(listening.machine)
    if measured is None:
        return []
    name = "no network" if bundle.network is None else "network, INT8"
    methods = [Method(name, measured.auc, measured.pauc)]
    change = None
    if measured.auc_fp32 is not None and measured.pauc_fp32 is not None:
        methods.insert(0, Method("network, FP32", measured.auc_fp32, measured.pauc_fp32))
        change = measured.auc - measured.auc_fp32
    row = Row(
        machine=listening.machine,
        methods=methods,
        int8_change=change,
        spearman=measured.spearman,
        listened=listening.fault_at_s is not None,
        seconds_to_alarm=listening.seconds_to_alarm,
        false_alarms=listening.false_alarms,
    )
    return [row]


if __name__ == "__main__":
    raise SystemExit(run_command(main))
