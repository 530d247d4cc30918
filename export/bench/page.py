"""OUT/results.html: the tables with charts, in one file that loads nothing."""

from pathlib import Path

import msgspec

from edge_runtime import __version__
from export.bench import charts, registry, tables
from export.bench.charts import Cloud, Histogram
from export.bench.draws import OFFICIAL
from export.bench.jobs import Done
from export.bench.plan import Plan
from export.bench.results import ALL, Results, System
from export.page import bars, words
from export.page.bars import Bar
from export.page.write import write_page


class Line(msgspec.Struct, frozen=True):
    """One system in the chart of totals."""

    system: System
    bar: Bar
    text: str
    verdict: str  # against the best detector without a network


class View(msgspec.Struct, frozen=True):
    """One system's map and histograms."""

    system: System
    opened: bool
    seed: int
    box: str  # view box of the map
    clouds: list[Cloud]
    histograms: list[Histogram]


def write(out: Path, results: Results, plan: Plan, done: Done) -> None:
    """Write the page, whole or not at all."""
    judged = [one for one in results.systems if one.judged and not one.of]
    ends = bars.scale([one.judged[ALL].figures[OFFICIAL] for one in judged])
    write_page(
        out,
        "benchmark.html.j2",
        results=results,
        findings=tables.findings(results),
        how=tables.how(results),
        facts=_facts(results, plan),
        lines=[_line(one, results, ends) for one in judged],
        ends=ends,
        tables=tables.tables(results),
        reason=tables.reason,
        views=[_view(one, results, plan, done) for one in judged],
        network=registry.NETWORK,
        sizes={"width": charts.WIDTH, "half": charts.HALF},
        words=words,
        version=__version__,
    )


def _facts(results: Results, plan: Plan) -> list[tuple[str, str]]:
    request, trial = plan.request, plan.trial
    found = [
        ("Test data", f"{request.data}, {words.count(len(results.machines), 'machine')}"),
        ("Clips", f"{len(trial.train)} to fit, {len(trial.test)} to test"),
        ("Networks are trained on", str(request.train_data or request.data)),
        ("Seeds", str(request.seeds)),
        ("Window", f"{results.window_frames} frames"),
        ("Target clips a machine", "all" if request.target_clips is None else f"at most {request.target_clips}"),
        ("Commit", results.commit),
    ]
    return [(label, value) for label, value in found if value]


def _line(system: System, results: Results, ends: tuple[float, float]) -> Line:
    judged = system.judged[ALL]
    verdict = "best" if system.name == results.best else words.verdict(judged.gain[OFFICIAL])
    return Line(system, bars.bar(judged.figures[OFFICIAL], *ends), tables.figure(judged.figures[OFFICIAL]), verdict)


def _view(system: System, results: Results, plan: Plan, done: Done) -> View:
    seed, scored = next(iter(done.scored[system.name].items()))
    opened = system.kind == registry.NETWORK or system.name == results.best
    clips = plan.trial.test
    return View(
        system, opened, seed, charts.box(scored), charts.clouds(scored, clips), charts.histograms(scored, clips)
    )
