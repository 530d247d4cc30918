"""Scores are joined with the truth by name; a mistake is one line that names it. Takes about 3 s."""

import json
import subprocess
import sys

import numpy as np
import pytest

from calib import official
from calib.metrics import evaluate, main
from calib.truth import load_sections, read_truth
from edge_runtime.cli import run_command
from tests.conftest import ROOT

CLIPS = [
    f"section_00_{domain}_test_{label}_000{i}_x.wav"
    for domain in ("source", "target")
    for label in ("normal", "anomaly")
    for i in range(3)
]


SCORES = [1.0, 2, 3, 4, 5, 6, 2, 4, 6, 5, 7, 8]
SCORE_FILE = "anomaly_score_fan_section_00_test.csv"
DECISION_FILE = "decision_result_fan_section_00_test.csv"


@pytest.fixture
def team(tmp_path):
    """A team's folder with one section, twelve clips and decisions."""
    folder = tmp_path / "team"
    folder.mkdir()
    held = [int(score > 4) for score in SCORES]
    official.write_scores(folder / SCORE_FILE, zip(CLIPS, SCORES, strict=True))
    official.write_scores(folder / DECISION_FILE, zip(CLIPS, held, strict=True))
    return folder


def test_the_order_of_rows_means_nothing(team, capsys):
    assert run_command(main, [str(team)]) == 0
    before = capsys.readouterr()
    for seed, name in enumerate((SCORE_FILE, DECISION_FILE)):
        rows = (team / name).read_text().splitlines()
        (team / name).write_text("\r\n".join(np.random.default_rng(seed).permutation(rows)) + "\r\n\r\n")
    assert run_command(main, [str(team)]) == 0
    assert capsys.readouterr() == before
    assert "2022 to 2026" in before.err


def test_json_says_what_the_table_says(team, capsys):
    assert run_command(main, [str(team), "--year", "2023"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run_command(main, [str(team), "--year", "2023", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert lines[-1] == f"official score {report['official_score']!r}"
    low, high = report["official_score_interval"]
    assert lines[-2] == f"official score 95 % interval,,{low!r},{high!r}"
    assert low <= report["official_score"] <= high
    header, row = lines[1].split(","), lines[2].split(",")
    assert [report["sections"][0][name] for name in header[1:]] == [float(cell) for cell in row[1:]]
    assert row[0] == "00"


def test_without_decisions_their_columns_are_empty_and_it_says_so(team, capsys):
    (team / DECISION_FILE).unlink()
    assert run_command(main, [str(team)]) == 0
    printed = capsys.readouterr()
    assert "no decision_result file for fan section_00" in printed.err
    lines = printed.out.splitlines()
    assert lines[2].endswith(",,,,,,") and not lines[2].endswith(",,,,,,,")
    assert next(line for line in lines if line.startswith("harmonic mean,")).endswith(",,,")


def test_other_baselines_forms_of_a_file_are_read(team):
    plain = load_sections(team)[0]
    rows = zip(CLIPS, SCORES, plain.decisions[np.argsort(np.argsort(CLIPS))], strict=True)
    lines = ["decision threshold,0.6,max,0.7,min,0.4", *(f"{name},{score},{held}" for name, score, held in rows)]
    (team / DECISION_FILE).write_text("\n".join(lines))
    (team / SCORE_FILE).rename(team / "anomaly_score_DCASE2025T2fan_section_00_test_seed13711_id(0_).csv")
    again = load_sections(team)[0]
    assert again.names == plain.names
    assert (again.scores == plain.scores).all() and (again.decisions == plain.decisions).all()


def write_truth(folder, scored):
    """A truth folder in the form of 2022 and later, and the team's files under the hidden names."""
    hidden = {name: f"section_00_{i:04}.wav" for i, name in enumerate(CLIPS)}
    for kind, word in (("data", "anomaly"), ("domain", "target")):
        (folder / f"ground_truth_{kind}").mkdir(parents=True)
        rows = [(hidden[name], int(word in name)) for name in CLIPS]
        official.write_scores(folder / f"ground_truth_{kind}" / "ground_truth_fan_section_00_test.csv", rows)
    for name in (SCORE_FILE, DECISION_FILE):
        rows = official.read_values(scored / name, binary=name == DECISION_FILE)
        official.write_scores(scored / name, [(hidden[clip], int(x) if x in (0, 1) else x) for clip, x in rows.items()])
    return hidden


def test_a_truth_folder_says_what_the_names_said(team, tmp_path, capsys):
    assert run_command(main, [str(team)]) == 0
    by_names = capsys.readouterr().out
    hidden = write_truth(tmp_path / "truth", team)
    argv = [str(team), "--truth", str(tmp_path / "truth")]
    assert run_command(main, argv) == 0
    assert figures_of(capsys.readouterr().out) == figures_of(by_names)
    for other in (lambda name: hidden[name].replace("_00_", "_00_test_"), lambda name: name):  # README's name; labelled
        official.write_scores(team / SCORE_FILE, [(other(name), x) for name, x in zip(CLIPS, SCORES, strict=True)])
        folder = tmp_path / "truth" / "ground_truth_attributes"
        folder.mkdir(exist_ok=True)
        rows = [f"{short},{name.removesuffix('.wav')}" for name, short in hidden.items()]
        (folder / "ground_truth_fan_section_00_test.csv").write_text("\n".join(rows))
        assert run_command(main, argv) == 0
        assert figures_of(capsys.readouterr().out) == figures_of(by_names)


def figures_of(printed):
    """All but the interval, whose draws go by the order of the clips."""
    return [line for line in printed.splitlines() if "interval" not in line]


def test_the_list_of_2020_is_a_truth(tmp_path):
    team = tmp_path / "team"
    team.mkdir()
    labels = [0, 0, 1, 1]
    rows = [(f"id_05_0000000{i}.wav", f"{('normal', 'anomaly')[x]}_id_05_0000000{i}.wav") for i, x in enumerate(labels)]
    (tmp_path / "eval_data_list.csv").write_text("pump\n" + "\n".join(f"{a},{b},{b[0] == 'a':d}" for a, b in rows))
    official.write_scores(team / "anomaly_score_pump_id_05.csv", zip([a for a, _ in rows], [1, 3, 2, 4], strict=True))
    for place in (tmp_path, tmp_path / "eval_data_list.csv"):
        (found,) = load_sections(team, read_truth(place))
        assert found.labels.tolist() == labels
        assert evaluate([found], 2020, resamples=0).figures[0].value == 0.75


def edit(change):
    return lambda folder: (folder / SCORE_FILE).write_text(change((folder / SCORE_FILE).read_text()))


def row(i):
    return f"{CLIPS[i]},{SCORES[i]}\n"


MISTAKES = {
    "a score is text": (edit(lambda text: text.replace(row(3), f"{CLIPS[3]},high\n")), [CLIPS[3], "'high'"]),
    "a score is NaN": (edit(lambda text: text.replace(row(3), f"{CLIPS[3]},nan\n")), [CLIPS[3], "'nan'"]),
    "a score is infinite": (edit(lambda text: text.replace(row(3), f"{CLIPS[3]},inf\n")), [CLIPS[3], "'inf'"]),
    "a row without a value": (edit(lambda text: text.replace(row(3), f"{CLIPS[3]}\n")), [SCORE_FILE, "row 4"]),
    "a clip twice": (edit(lambda text: text + row(2)), [SCORE_FILE, "row 13", CLIPS[2], "second time"]),
    "an undecided clip": (edit(lambda text: text + row(2).replace("_0002_", "_0009_")), [DECISION_FILE, "_0009_"]),
    "a clip too few": (edit(lambda text: text.replace(row(2), "")), [DECISION_FILE, CLIPS[2], "not in the score file"]),
    "another section's clip": (edit(lambda text: text.replace("section_00", "section_01", 1)), ["is of section_01"]),
    "an empty file": (edit(lambda text: ""), [SCORE_FILE, "holds no rows"]),
    "no label in the name": (edit(lambda text: text.replace("_normal_", "_", 1)), [SCORE_FILE, "--truth"]),
    "not text": (lambda f: (f / SCORE_FILE).write_bytes(b"\xff\xfe\x00"), [SCORE_FILE, "not a CSV file"]),
    "no score files": (lambda f: (f / SCORE_FILE).rename(f / "scores.csv"), ["no anomaly_score_*.csv"]),
    "an unknown name": (lambda f: (f / SCORE_FILE).rename(f / "anomaly_score_fan.csv"), ["anomaly_score_fan.csv"]),
    "a decision is 2": (lambda f: (f / DECISION_FILE).write_text(f"{CLIPS[0]},2\n"), [DECISION_FILE, "'2'", "0 or 1"]),
    "one class": (
        lambda f: [(f / DECISION_FILE).unlink(), edit(lambda text: "".join(map(row, (0, 1, 6, 7))))(f)],
        ["fan section_00", "no anomalous clip", "AUC is undefined"],
    ),
    "one domain": (
        lambda f: [(f / DECISION_FILE).unlink(), edit(lambda text: "".join(map(row, range(6))))(f)],
        ["fan section_00", "no normal clip of the target domain"],
    ),
    "no domain": (
        lambda f: [
            (f / DECISION_FILE).unlink(),
            (f / SCORE_FILE).write_text("section_00_normal_0000.wav,1\nsection_00_anomaly_0000.wav,2\n"),
        ],
        ["nothing says the domain", "--year 2020"],
    ),
    "a year that cannot be told": (
        lambda f: (f / SCORE_FILE).rename(f / "anomaly_score_fan_section_00.csv"),
        ["--year", "anomaly_score_fan_section_00.csv"],
    ),
}


def one_line(argv, capsys):
    assert run_command(main, argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(mistake, team, capsys):
    make, words = MISTAKES[mistake]
    make(team)
    line = one_line([str(team)], capsys)
    assert all(word in line for word in words), line


def test_a_wrong_folder_or_year_is_one_line(team, capsys):
    assert "its folder team has some" in one_line([str(team.parent)], capsys)
    assert "--year 2019: " in one_line([str(team), "--year", "2019"], capsys)
    assert "no such folder" in one_line([str(team / "none")], capsys)


def test_a_truth_that_does_not_fit_is_one_line(team, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "no ground_truth_data" in one_line([str(team), "--truth", str(tmp_path / "empty")], capsys)
    truth = tmp_path / "truth"
    hidden = list(write_truth(truth, team).values())
    argv = [str(team), "--truth", str(truth)]
    rows = (team / SCORE_FILE).read_text()
    (team / SCORE_FILE).write_text(rows.replace(hidden[4], "section_00_9999.wav"))
    assert f"{SCORE_FILE}: section_00_9999.wav is not in the truth" in one_line(argv, capsys)
    (team / SCORE_FILE).write_text("".join(line for line in rows.splitlines(True) if hidden[4] not in line))
    assert f"{SCORE_FILE}: no row for {hidden[4]}, which the truth has" in one_line(argv, capsys)
    (team / SCORE_FILE).write_text(rows)
    (team / "anomaly_score_pump_section_00_test.csv").write_text(rows)
    assert "the truth has no pump section_00" in one_line(argv, capsys)
    (team / "anomaly_score_pump_section_00_test.csv").unlink()
    (truth / "ground_truth_data" / "ground_truth_pump_section_00_test.csv").write_text("section_00_0000.wav,0\n")
    assert "no anomaly_score_pump_section_00_test.csv, which the truth asks for" in one_line(argv, capsys)


def test_the_command_runs_by_its_path(team):
    argv = [sys.executable, str(ROOT / "calib" / "metrics.py"), str(team)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=team, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("official score 0.")
