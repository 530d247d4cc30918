"""Metrics by hand and against what the official evaluators print. Takes about 4 s."""

import csv
import json
import sys

import numpy as np
import pytest

from calib.metrics import auc, evaluate, harmonic_mean, main, pauc, precision_recall_f1
from calib.truth import Section
from edge_runtime.cli import run_command
from tests.conftest import SHARED

EVALUATOR = SHARED / "evaluator"
SAME = 1e-9  # absolute: both are float64 sums of some hundred terms, made in a different order
needs_evaluator = pytest.mark.skipif(not EVALUATOR.is_dir(), reason=f"the evaluators' output is not at {EVALUATOR}")

TEAMS = [
    (2022, "synthetic_ties", 0.5468442931433403),
    (2021, "synthetic_fine", 0.5417349618672856),
    (2021, "synthetic_ties", 0.5427460832796562),
]


def table(text: str) -> dict[tuple[str, ...], list[float]]:
    """Printed rows: (machine type or "", words of the row) -> its numbers; headings are left out."""
    rows: dict[tuple[str, ...], list[float]] = {}
    machine_type = ""
    for row in csv.reader(text.splitlines()):
        if len(row) <= 1:
            machine_type = row[0] if row else ""
            continue
        numbers = [cell for cell in row if cell.startswith(("0.", "1.", "2.", "3."))]
        if numbers:
            rows[(machine_type, *row[: len(row) - len(numbers)])] = [float(cell) for cell in numbers]
    return rows


@needs_evaluator
@pytest.mark.parametrize(("year", "team", "score"), TEAMS)
def test_the_command_prints_what_the_official_evaluator_prints(year, team, score, capsys):
    root = EVALUATOR / f"dcase{year}"
    argv = [str(root / "teams" / team), "--truth", str(root), "--year", str(year), "--resamples", "0"]
    assert run_command(main, argv) == 0
    printed = capsys.readouterr().out
    last = printed.splitlines()[-1].removeprefix("official score ")
    assert float(last) == pytest.approx(score, abs=SAME)
    expected = table((root / "expected" / f"{team}_result.csv").read_text())
    mine = table(printed)
    compared = 0
    for words, numbers in expected.items():
        if words[1].startswith("official score"):
            continue  # the last line here; ci95 pools machines
        if year == 2022 and words[0] and words[1].startswith(("source", "target")):
            continue  # the evaluator takes section 03 alone for the source
        assert mine[words] == pytest.approx(numbers, abs=SAME), words
        compared += 1
    assert compared == {2022: 7 * 5 + 4, 2021: 7 * 10 + 4}[year]  # types x (sections and means), then means over all


@needs_evaluator
def test_a_real_system_gets_the_figures_that_its_author_published(capsys):
    folder = EVALUATOR / "dcase2022_dev"
    assert run_command(main, [str(folder), "--year", "2022", "--json", "--resamples", "0"]) == 0
    report = json.loads(capsys.readouterr().out)
    section = {(row["machine_type"], row["section"][-2:]): row for row in report["sections"]}

    def of(machine_type, label):
        if label.isdigit():
            row = section[machine_type, label]
            return [row["AUC (source)"], row["AUC (target)"], row["pAUC"]]
        means = report["means"][machine_type]
        return [means[f"source {label}"]["AUC"], means[f"target {label}"]["AUC"], means[f"source {label}"]["pAUC"]]

    machine_type, compared = "", 0
    for row in csv.reader((folder / "result.csv").read_text().splitlines()):
        if len(row) == 1:
            machine_type = row[0]
        if len(row) != 4 or row[0] == "section":
            continue
        if row[0].startswith("("):  # the author's totals: the mean over types of either mean, to four digits
            label = {"(A)": "arithmetic mean", "(H)": "harmonic mean"}[row[0][:3]]
            mine, digits = np.mean([of(machine_type, label) for machine_type in report["means"]], axis=0), 5e-5
        else:
            mine, digits = of(machine_type, row[0]), SAME
        assert list(mine) == pytest.approx([float(number) for number in row[1:]], abs=digits), (machine_type, row[0])
        compared += 1
    assert compared == 7 * 5 + 2
    assert report["official_score"] == pytest.approx(
        harmonic_mean([row[name] for row in section.values() for name in ("AUC (source)", "AUC (target)", "pAUC")])
    )


def test_auc_counts_a_tie_one_half():
    # pairs of (normal, anomaly): 1<2 wins, 1<3 wins, 2=2 half, 2<3 wins
    assert auc(np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 3.0])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize(
    ("scores", "area"),
    [
        ([4.0, 3.0, 2.0, 1.0, 9.0, 3.5], 0.05),  # from (0, 1/2) level to FPR 0.25: 0.1 x 0.5
        ([4.0, 3.0, 2.0, 1.0, 4.0, 3.5], 0.01),  # a tie: a slope from (0, 0) to (0.25, 0.5): 0.1 x 0.2 / 2
        ([4.0, 3.0, 2.0, 1.0, 9.0, 8.0], 0.10),
        ([4.0, 3.0, 2.0, 1.0, 0.0, 0.0], 0.00),
    ],
)
def test_pauc_is_the_area_as_mcclish_standardises_it(scores, area):
    labels = np.array([0, 0, 0, 0, 1, 1])
    written = 0.5 * (1 + (area - 0.1**2 / 2) / (0.1 - 0.1**2 / 2))
    assert pauc(labels, np.array(scores)) == pytest.approx(written, abs=1e-12)  # rounding alone


def test_a_harmonic_mean_is_floored_and_not_infinite():
    assert harmonic_mean([0.5, 1.0]) == pytest.approx(2 / 3)
    assert harmonic_mean([0.0, 1.0]) == pytest.approx(2 * sys.float_info.epsilon)


def test_precision_recall_and_f1_are_those_of_the_anomalies():
    labels, decisions = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0])
    assert precision_recall_f1(labels, decisions) == pytest.approx((0.5, 0.5, 0.5))
    assert precision_recall_f1(labels, np.zeros(5, int)) == (0.0, 0.0, 0.0)


def section(machine_type, name, labels, domains, scores, decisions=None):
    names = [f"{i}.wav" for i in range(len(labels))]
    held = None if decisions is None else np.array(decisions)
    return Section(
        machine_type, name, names, np.array(labels), np.array(domains, dtype=str), np.array(scores, float), held
    )


def test_2020_takes_the_mean_over_ids_then_over_types():
    def machine(machine_type, name, scores):
        return section(machine_type, name, [0, 0, 1, 1], [""] * 4, scores)

    perfect, half, worst = [1, 2, 3, 4], [2, 3, 1, 4], [3, 4, 1, 2]
    sections = [machine("fan", "id_00", perfect), machine("fan", "id_02", half), machine("pump", "id_04", worst)]
    # half: AUC 2/4; first an anomaly, TPR 1/2 up to FPR 0.1: A = 0.05
    low = 0.5 * (1 + (0.00 - 0.005) / 0.095)
    middle = 0.5 * (1 + (0.05 - 0.005) / 0.095)
    by_hand = (((1 + 0.5) / 2 + (1 + middle) / 2) / 2 + (0 + low) / 2) / 2
    assert evaluate(sections, 2020, resamples=0).official_score == pytest.approx(by_hand, abs=1e-12)


def test_2021_compares_a_domain_with_its_own_anomalies_and_2022_with_all():
    labels, domains = [0, 0, 1, 0, 0, 1], ["source"] * 3 + ["target"] * 3
    mixed = [section("fan", "section_00", labels, domains, [1, 2, 3, 5, 7, 6])]
    own = {f.column: f.value for f in evaluate(mixed, 2021, resamples=0).figures}
    both = {f.column: f.value for f in evaluate(mixed, 2022, resamples=0).figures}
    assert (own["AUC (source)"], own["AUC (target)"]) == (1.0, 0.5)  # 3 over 1 and 2; 6 over 5, not over 7
    assert (both["AUC (source)"], both["AUC (target)"]) == (1.0, 0.25)  # 3 and 6 over 5 and 7: one of four
    assert "pAUC (source)" in own and "pAUC" in both
    assert evaluate(mixed, 2026, resamples=0).official_score == evaluate(mixed, 2022, resamples=0).official_score


def test_the_official_score_has_an_interval():
    random = np.random.default_rng(8)
    labels, domains = [0, 1] * 50, ["source"] * 50 + ["target"] * 50
    sections = [section("fan", f"section_0{i}", labels, domains, random.normal(size=100) + labels) for i in range(3)]
    for year in (2020, 2021, 2022):
        found = evaluate(sections, year).interval
        assert found.low < found.value < found.high < found.low + 0.15
        assert found.value == evaluate(sections, year, resamples=0).official_score
