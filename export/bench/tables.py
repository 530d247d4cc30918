"""Results as tables of words, for Markdown and for the page."""

import msgspec

from calib.bootstrap import Interval
from export.bench import registry
from export.bench.draws import OFFICIAL
from export.bench.results import ALL, Judged, Results, System
from export.page import words


class Table(msgspec.Struct, frozen=True):
    """One machine, or all."""

    title: str
    note: str
    header: list[str]
    rows: list[tuple[System, list[str]]]  # no cells where there are no figures: the reason stands in their place


def tables(results: Results) -> list[Table]:
    """The totals first, then each machine."""
    count = len(results.machines)
    total = f"{words.count(count, 'machine')}, {_mean(results)}; official score: {_official(results)}"
    notes = {
        one.machine: f"{one.train} clips to fit, {one.normal} normal and {one.anomalous} anomalous to test"
        for one in results.machines
    }
    found = [_table(results, ALL, "In total", total)]
    found += [_table(results, machine, machine, note) for machine, note in notes.items()]
    return found[:1] + _parts(results) + found[1:]


def _parts(results: Results) -> list[Table]:
    """What each part of a system contributes: the whole system and, below it, those with a part off or changed."""
    ablated = [one for one in results.systems if one.of]
    if not ablated:
        return []
    header = [
        "system",
        *results.names,
        "whole less this, official",
        *(f"whole less this, {n}" for n in results.names[:-1]),
    ]
    rows = []
    for whole in [one for one in results.systems if any(part.of == one.name for part in ablated)]:
        for one in [whole, *(part for part in ablated if part.of == whole.name)]:
            rows.append((one, _part_cells(one, results)))
    return [Table("What each part contributes", "In total, by switching it off or changing it", header, rows)]


def _part_cells(system: System, results: Results) -> list[str]:
    judged = system.judged.get(ALL)
    if judged is None:
        return []
    names = [OFFICIAL, *results.names[:-1]]
    less = [difference(judged.part[name]) for name in names] if judged.part else [words.NONE] * len(names)
    return [*(figure(judged.figures[name]) for name in results.names), *less]


def _table(results: Results, machine: str, title: str, note: str) -> Table:
    """Costs, and systems without figures, are in the table of all machines alone."""
    header = ["system", *results.names, f"official less {_best(results).shown}", "INT8 less FP32, AUC"]
    header += ["parameters", "multiply-accumulates", "training"] if machine == ALL else []
    shown = [one for one in results.systems if not one.of and (one.judged or machine == ALL)]
    return Table(title, note, header, [(one, _cells(one, machine, results)) for one in shown])


def _cells(system: System, machine: str, results: Results) -> list[str]:
    judged = system.judged.get(machine)
    if judged is None:
        return []
    gain = "best without a network" if system.name == results.best else difference(judged.gain[OFFICIAL])
    cells = [*[figure(judged.figures[name]) for name in results.names], gain, _int8(judged)]
    return cells + (_costs(system) if machine == ALL else [])


def _costs(system: System) -> list[str]:
    if system.training_s is None:
        return [words.NONE] * 3
    return [words.large(system.parameters), words.large(system.macs), words.clock(system.training_s)]


def figure(found: Interval) -> str:
    """Per cent: 91.2 [88.0, 94.1]."""
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def difference(found: Interval) -> str:
    """Points: +1.2 [−0.3, +2.5]."""
    parts = (found.value, found.low, found.high)
    value, low, high = (format(100 * part, "+.1f").replace("-", words.MINUS) for part in parts)
    return f"{value} [{low}, {high}]"


def _int8(judged: Judged) -> str:
    if judged.int8 is None:
        return words.NONE
    return f"{difference(judged.int8)}, Spearman {judged.spearman:.3f}"


def reason(system: System) -> str:
    """Why a system, or a part of it, has no figures; empty where nothing is lacking."""
    return "; ".join([f"not trained: {system.missing}"] * bool(system.missing) + system.failed)


def findings(results: Results) -> list[str]:
    """Which networks beat the best detector without one, in sentences."""
    best = _best(results)
    networks = [one for one in results.systems if one.kind == registry.NETWORK and one.judged and not one.of]
    verdicts = {one.name: words.verdict(one.judged[ALL].gain[OFFICIAL]) for one in networks}
    told = [
        f"The best detector without a network is {best.shown}, official score "
        f"{figure(best.judged[ALL].figures[OFFICIAL])}. It is chosen as the best of them on these same test clips, "
        "which favours it in every difference."
    ]
    said = {
        "better": "By its interval, better than that: {}.",
        "equal": "Not shown to differ from that (the interval of the difference holds 0): {}.",
        "worse": "By its interval, worse than that: {}.",
    }
    for verdict, meaning in said.items():
        names = ", ".join(name for name, found in verdicts.items() if found == verdict)
        if names or (networks and verdict == "better"):
            told.append(meaning.format(names or "no network"))
    left = [one.name for one in results.systems if not one.judged]
    return told + ([f"Without figures: {', '.join(left)}; the table says why."] if left else [])


def how(results: Results) -> str:
    """How the figures were made, in a sentence or two."""
    seeds = results.request["seeds"]
    return (
        f"Per cent, means over {words.count(seeds, 'seed')} of each network; in brackets 95 % intervals of "
        f"{results.resamples} resamples of clips (within machine, domain and label) and of seeds. Differences are "
        f"over the same resamples. Windows of {results.window_frames} frames. Nothing was chosen on the test clips but "
        "which detector the differences are to."
    )


def markdown(results: Results) -> str:
    """OUT/results.md."""
    lines = ["# Benchmark", "", *findings(results), "", how(results), ""]
    lines += [f"Commit {results.commit or 'unknown'}, `{results.command}`", ""]
    if others := sorted({commit for one in results.systems for commit in one.commits} - {results.commit}):
        lines += [f"Networks were trained with the code of commit {', '.join(others)}.", ""]
    for table in tables(results):
        lines += [f"## {table.title}", "", table.note, "", _line(table.header), _line(["---"] * len(table.header))]
        for system, cells in table.rows:
            name = system.name if system.kind == registry.NETWORK else f"{system.name} ({system.title})"
            empty = [words.NONE] * (len(table.header) - 2)
            lines.append(_line([name, *(cells or [reason(system), *empty])]))
        lines.append("")
    lines += [f"{one.name}: {reason(one)}.\n" for one in results.systems if one.judged and reason(one)]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _best(results: Results) -> System:
    return next(one for one in results.systems if one.name == results.best)


def _mean(results: Results) -> str:
    return "means over IDs and machine types" if results.year == 2020 else "harmonic means over machines"


def _official(results: Results) -> str:
    if results.year == 2020:
        return "mean of AUC and pAUC (conventions of 2020)"
    return "harmonic mean of AUC source, AUC target and pAUC of every machine (conventions of 2022 to 2026)"
