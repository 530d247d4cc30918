"""Score a folder of official DCASE Task 2 files: AUC, pAUC, precision, recall, F1 and the year's official score.

    python calib/metrics.py TEAM_DIR --truth DIR --year 2022
    python calib/metrics.py TEAM_DIR --json

TEAM_DIR holds `anomaly_score_*.csv` and, if decisions are to be judged, `decision_result_*.csv`. DIR is a folder of an
official evaluator (`ground_truth_data`, `ground_truth_domain`) or holds an `eval_data_list.csv`; without it labels and
domains come from the clips' names. Prints the evaluator's table, a 95 % bootstrap interval of the official score over
clips, and ends with the line `official score 0.…`.

The official score depends on the year:
  2020       AUC and pAUC per machine ID; arithmetic means over IDs, then over machine types, then of the two
  2021       AUC and pAUC per section and domain, from that domain's own clips; harmonic mean of them all
  2022-2026  AUC of a domain: its normals against the anomalies of both domains; pAUC over the whole section;
             harmonic mean of these three figures of every section
Precision, recall and F1 are of a domain's own clips (2020: of the ID) and are not ranked.

Unlike the evaluators: a machine type's source and target means take the source and target figures of every section; a
precision or recall of zero is 0.0; rows are joined by name; the interval resamples clips within section, domain and
label, and does not pool the scores of different machines.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib import bootstrap, table
from calib.official import DOMAINS
from calib.table import Figure, Report, harmonic_mean
from calib.truth import Section, find_scores, load_sections, read_truth
from edge_runtime.cli import parser, run_command, say
from edge_runtime.errors import ConfigError, DataError

__all__ = [
    "Report",
    "auc",
    "evaluate",
    "harmonic_mean",
    "load_sections",
    "pauc",
    "precision_recall_f1",
    "read_truth",
]

YEARS = range(2020, 2027)
MAX_FPR = bootstrap.METRICS["pauc"]  # of every year


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """[clips] labels (0 normal, 1 anomaly) and scores -> area under the ROC curve; ties count one half."""
    bootstrap.check(labels, scores)
    return float(roc_auc_score(labels, scores))


def pauc(labels: np.ndarray, scores: np.ndarray, max_fpr: float = MAX_FPR) -> float:
    """Area A under the ROC curve up to a false-positive rate p, standardised: 0.5 is chance, 1 perfect.

    0.5 * (1 + (A - p²/2) / (p - p²/2)), the curve interpolated at p (McClish 1989).
    """
    bootstrap.check(labels, scores)
    return float(roc_auc_score(labels, scores, max_fpr=max_fpr))


def precision_recall_f1(labels: np.ndarray, decisions: np.ndarray) -> tuple[float, float, float]:
    """[clips] labels and decisions, 0 or 1 -> precision, recall and F1 of the anomalies; 0 where one is undefined."""
    figures = precision_recall_fscore_support(labels, decisions, average="binary", zero_division=0.0)
    return float(figures[0]), float(figures[1]), float(figures[2])


class Ranked(NamedTuple):
    """A figure that enters the official score: over which clips, up to which false-positive rate."""

    name: str  # AUC or pAUC
    domain: str  # "" for both together
    clips: np.ndarray  # [clips] bool
    max_fpr: float


def ranked(section: Section, year: int) -> list[Ranked]:
    """The figures of a section that the year's official score is made of."""
    everything = np.ones(len(section.labels), bool)
    if year == 2020:
        return [Ranked("AUC", "", everything, 1.0), Ranked("pAUC", "", everything, MAX_FPR)]
    own = {domain: section.domains == domain for domain in DOMAINS}
    if homeless := np.flatnonzero(~(own["source"] | own["target"])).tolist():
        name = section.names[homeless[0]]
        raise DataError(f"{section}: nothing says the domain of {name}; give --truth, or --year 2020, which has none")
    if year == 2021:
        return [Ranked(name, d, own[d], fpr) for d in DOMAINS for name, fpr in (("AUC", 1.0), ("pAUC", MAX_FPR))]
    aucs = [Ranked("AUC", domain, own[domain] | (section.labels == 1), 1.0) for domain in DOMAINS]
    return [*aucs, Ranked("pAUC", "", everything, MAX_FPR)]


def combine(values: np.ndarray, types: Sequence[str], year: int) -> np.ndarray:
    """[k, ...] ranked figures and the machine type of each -> [...] the official score."""
    if year != 2020:
        return table.harmonic_means(values)
    of = np.array(types)
    return np.mean([values[of == machine_type].mean(axis=0) for machine_type in sorted(set(types))], axis=0)


def section_figures(section: Section, year: int) -> list[Figure]:
    """Every figure of a section: those that are ranked, and the rest of the evaluator's table."""
    of = (section.machine_type, section.section)
    figures = [Figure(*of, f.domain, f.name, _value(section, f)) for f in ranked(section, year)]
    if year >= 2022:
        figures.append(Figure(*of, "", table.ALL, auc(section.labels, section.scores)))
    for domain in DOMAINS if year > 2020 else ("",):
        own = section.domains == domain if domain else slice(None)
        judged: tuple[float | None, ...] = (None, None, None)
        if section.decisions is not None:
            judged = precision_recall_f1(section.labels[own], section.decisions[own])
        figures += [Figure(*of, domain, *figure) for figure in zip(table.NAMES[2:], judged, strict=True)]
    return figures


def evaluate(sections: Sequence[Section], year: int, resamples: int = 1000, seed: int = 0) -> Report:
    """All figures by a year's conventions; the official score with a bootstrap interval (0 resamples: without)."""
    figures = [figure for section in sections for figure in section_figures(section, year)]
    entering = [figure for figure in figures if figure.name in ("AUC", "pAUC")]
    types = [figure.machine_type for figure in entering]
    score = float(combine(np.array([figure.value for figure in entering]), types, year))
    if not resamples:
        return Report(year, figures, score, None)
    drawn = np.concatenate([_resampled(section, year, resamples, [seed, i]) for i, section in enumerate(sections)])
    return Report(year, figures, score, bootstrap.between(score, combine(drawn, types, year)))


def _value(section: Section, figure: Ranked) -> float:
    labels, scores = section.labels[figure.clips], section.scores[figure.clips]
    for label, kind in enumerate(("normal", "anomalous")):
        if label not in labels:
            where = f" of the {figure.domain} domain" if figure.domain else ""
            raise DataError(
                f"{section}: no {kind} clip{where}, so {figure.name} is undefined; score a test set that has both kinds"
            )
    return auc(labels, scores) if figure.max_fpr == 1.0 else pauc(labels, scores, figure.max_fpr)


def _resampled(section: Section, year: int, resamples: int, seed: list[int]) -> np.ndarray:
    """[ranked figures, resamples]; clips are drawn within domain and label."""
    strata = 2 * section.labels + (section.domains == "target")
    figures = ranked(section, year)
    blocks = [
        [bootstrap.weighted_auc(section.labels[c], section.scores[c], counts[:, c], fpr) for _, _, c, fpr in figures]
        for counts in bootstrap.draws(strata, None, resamples, seed)
    ]
    return np.concatenate(blocks, axis=1)


def _told_year(team: Path) -> int:
    """The year whose naming all score files follow."""
    told = {file.year: path.name for path, file in find_scores(team).items()}
    year = next(iter(told))
    if len(told) != 1 or year is None:
        raise ConfigError(f"--year: the names of {', '.join(told.values())} leave it open; give --year 2020 ... 2026")
    if year not in YEARS:
        raise ConfigError(f"--year: {told[year]} says {year}, which has no conventions here; give --year 2020 ... 2026")
    return year


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__, "calib/metrics.py")
    arguments.add_argument("team", type=Path, metavar="TEAM_DIR", help="the folder of anomaly_score_*.csv")
    arguments.add_argument("--truth", type=Path, metavar="DIR", help="labels and domains (default: the clips' names)")
    arguments.add_argument("--year", type=int, metavar="YEAR", help="2020 to 2026 (default: files' names)")
    arguments.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the interval; 0: without")
    arguments.add_argument("--json", action="store_true", help="the same figures as JSON")
    args = arguments.parse_args(argv)
    if args.resamples < 0:
        raise ConfigError(f"--resamples {args.resamples}: give 0 or more")
    if args.year is not None and args.year not in YEARS:
        raise ConfigError(f"--year {args.year}: there are conventions of 2020 to 2026; give one of these")
    year = args.year or _told_year(args.team)
    sections = load_sections(args.team, read_truth(args.truth) if args.truth else None)
    report = evaluate(sections, year, args.resamples)
    if args.year is None:
        say(f"the conventions of {'2022 to 2026' if year >= 2022 else year}, by the files' names (--year for others)")
    if undecided := [str(section) for section in sections if section.decisions is None]:
        say(f"no decision_result file for {', '.join(undecided)}: precision, recall and F1 are left empty")
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(table.as_json(report)), indent=2).decode())
    else:
        print(f"{table.as_csv(report)}official score {report.official_score!r}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
