"""The benchmark on clips of 0.7 s: systems, seeds, detectors, what is lacking, what fails. About 30 s."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install '.[export]': training and export need torch")

from calib import detectors, metrics
from edge_runtime import config
from edge_runtime.cli import run_command
from export import benchmark
from export.bench import jobs, results, tables
from export.bench.plan import Request, plan
from export.bench.results import ALL, Results
from tests.conftest import hum, write_wav

MACHINE = "fan_section_00"
CHANGES = ["training.epochs=1", "training.batch=8", "hop_frames=4", "autoencoder:training.learning_rate=1.0e+30"]


def write_clips(root: Path, name: str = "fan", clips: int = 24) -> Path:
    """Both domains: a third of the clips to train, a third normal and a third anomalous to test; DCASE 2023 form."""
    for at in range(clips):
        domain, part = "target" if at % 2 else "source", 3 * at // clips
        split, label = ("train", "test", "test")[part], ("normal", "normal", "anomaly")[part]
        sound = hum(0.75, seed=at, pitch=78.0 if domain == "target" else 60.0)
        sound[::400] += 0.02 * (at % 4) * (label == "anomaly")
        file = f"section_00_{domain}_{split}_{label}_{at:04d}.wav"
        write_wav(root / "dev_data" / name / split / file, sound)
    return root


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("benchmark") / "data")


def request(data: Path, out: Path, **changes) -> Request:
    asked = Request(data=data, out=out, systems=["featex"], seeds=2, changes=CHANGES[:3], int8="none", jobs=2)
    return msgspec.structs.replace(asked, **changes)


@pytest.fixture(scope="module")
def done(recordings) -> tuple[Path, Results]:
    """One that trains, one that lacks a second machine, one whose learning rate is beyond all sense."""
    out = recordings.parent / "out"
    asked = request(recordings, out, systems=["autoencoder", "featex", "tranself"], changes=CHANGES)
    return out, benchmark.benchmark(asked)


def system(found: Results, name: str) -> results.System:
    return next(one for one in found.systems if one.name == name)


def test_every_system_and_every_detector_has_a_row(done):
    _, found = done
    assert {one.name for one in found.systems} == {"autoencoder", "featex", "tranself", *detectors.names()}
    for name in ("featex", *detectors.names()):
        figures = system(found, name).judged[ALL].figures
        assert list(figures) == ["AUC source", "AUC target", "pAUC", "official"]
        assert all(0.0 <= one.low <= one.high <= 1.0 for one in figures.values())
    featex = system(found, "featex")
    assert featex.seeds == [0, 1] and featex.training_s and featex.parameters > 1e6 and featex.macs > 1e6


def test_a_system_that_lacks_something_is_a_row_that_says_what(done):
    out, found = done
    assert "two machine IDs or more" in system(found, "tranself").missing and not system(found, "tranself").failed
    for name in ("results.md", "results.html"):
        assert "two machine IDs or more" in (out / name).read_text()


def test_a_system_that_fails_is_a_row_with_its_reason_and_the_others_go_on(done):
    out, found = done
    failed = system(found, "autoencoder")
    assert len(failed.failed) == 2 and "learning_rate" in failed.failed[0] and not failed.judged
    assert "lower training.learning_rate" in (out / "results.md").read_text() and system(found, "featex").judged


def test_figures_are_those_of_metrics_on_the_official_files(done):
    """Within 1e-12: the same sums in another order."""
    out, found = done
    for name, seeds in (("featex", (0, 1)), ("mel_mean", (0,))):
        sections = [metrics.load_sections(out / "official" / name / f"seed_{seed}") for seed in seeds]
        assert all(len(one) == 1 and one[0].decisions is not None for one in sections)
        reports = [metrics.evaluate(one, 2023, resamples=0) for one in sections]
        figures = system(found, name).judged[MACHINE].figures
        assert figures["official"].value == pytest.approx(np.mean([r.official_score for r in reports]), abs=1e-12)
        for column, told in (("AUC (source)", "AUC source"), ("AUC (target)", "AUC target"), ("pAUC", "pAUC")):
            values = [one.value for report in reports for one in report.figures if one.column == column]
            assert figures[told].value == pytest.approx(np.mean(values), abs=1e-12)


def test_the_best_detector_does_not_differ_from_itself(done):
    _, found = done
    totals = {name: system(found, name).judged[ALL].figures["official"].value for name in detectors.names()}
    assert totals[found.best] == max(totals.values())
    for one in system(found, found.best).judged[ALL].gain.values():
        assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)


def test_the_page_loads_nothing_and_has_a_map_and_histograms_of_every_system(done):
    out, found = done
    page = (out / "results.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page
    judged = [one for one in found.systems if one.judged]
    assert page.count('aria-label="scores of fan_section_00"') == len(judged)
    assert page.count('class="map"') == len(judged) - 1  # loudness has one dimension
    for sentence in tables.findings(found):
        assert sentence in (out / "results.md").read_text()


def test_what_is_done_is_not_done_again(done, recordings):
    out, first = done
    before = times(out / "runs"), times(out / "scored")
    again = benchmark.benchmark(request(recordings, out, systems=["featex", "tranself"]))
    assert (times(out / "runs"), times(out / "scored")) == before
    assert again.best == first.best
    for one in again.systems:
        assert one == system(first, one.name)
    assert config.load_json(out / "results.json", Results) == msgspec.convert(msgspec.to_builtins(again), Results)


def test_another_benchmark_uses_the_networks_and_goes_on_with_an_interrupted_one(done, recordings, tmp_path):
    """Fewer target clips change what is fitted, not what is trained."""
    out, first = done
    runs = shutil.copytree(out / "runs", tmp_path / "runs")
    interrupted, whole = sorted(runs.glob("featex-seed0-*")) + sorted(runs.glob("featex-seed1-*"))
    origin = config.load_json(interrupted / "run.json", dict)
    config.save_json(interrupted / "run.json", {**origin, "seconds": None})
    before, epochs = times(whole), (interrupted / "metrics.csv").read_text()
    asked = request(recordings, tmp_path / "out", runs=runs, target_clips=1, jobs=1)
    found = benchmark.benchmark(asked)
    assert times(whole) == before and {file.name for file in runs.iterdir()} == {
        f.name for f in (out / "runs").iterdir()
    }
    assert config.load_json(interrupted / "run.json", dict)["seconds"] is not None
    assert (interrupted / "metrics.csv").read_text() == epochs  # with the seconds of each: not from the start
    assert found.machines[0].train == first.machines[0].train - 3
    assert system(found, "featex").judged != system(first, "featex").judged


def times(folder: Path) -> dict[str, int]:
    files = (file for file in folder.rglob("*") if file.is_file() and "autoencoder" not in str(file))
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in files}


def test_a_network_for_one_machine_type_is_trained_for_each(recordings, tmp_path):
    data = shutil.copytree(recordings, tmp_path / "data")
    write_clips(data, "pump", 12)
    asked = request(data, tmp_path / "out", systems=["autoencoder"], changes=[], seeds=1)
    _, job = plan(asked).jobs
    assert [part.machine_type for part in job.parts] == ["fan", "pump"]
    elsewhere = plan(msgspec.structs.replace(asked, train_data=recordings))
    assert "no training clips of pump" in elsewhere.missing["autoencoder"]


def test_the_run_folder_is_the_same_for_another_scoring_and_another_for_other_training(recordings, tmp_path):
    def folder(*changes: str) -> str:
        return plan(request(recordings, tmp_path, changes=list(changes), seeds=1)).jobs[1].parts[0].folder.name

    same = folder()
    assert same.startswith("featex-seed0-")
    assert folder("scoring={kind: mahalanobis}", "hop_frames=7", "training.workers=3") == same
    (tmp_path / "elsewhere").symlink_to(recordings)
    asked = request(write_clips(tmp_path / "other"), tmp_path / "out", train_data=tmp_path / "elsewhere", changes=[])
    assert plan(asked).jobs[1].parts[0].folder.name == same
    assert folder("training.batch=7") != same and folder("featex:statex=0.0") != same


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "0"], "--seeds 0"),
        (["--systems", "featex,nonsense"], "nonsense: no such system; there is all, autoencoder"),
        (["--window-frames", "99"], "--window-frames 99"),
        (["--set", "tfap:training.epochs=3", "--systems", "featex"], "tfap is not benchmarked"),
        (["--set", "statex=0.5", "--systems", "tfap"], "--set NAME:KEY=VALUE"),
        (["--target-clips", "-1"], "--target-clips -1"),
    ],
)
def test_mistakes_are_one_line(recordings, tmp_path, capsys, options, said):
    assert run(["--data", recordings, "--out", tmp_path / "out", *options]) == 2
    assert said in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_clips_that_cannot_judge_and_folders_that_are_no_benchmark_are_refused(done, recordings, tmp_path, capsys):
    data = shutil.copytree(recordings, tmp_path / "data", ignore=shutil.ignore_patterns("*anomaly*"))
    assert run(["--data", data, "--out", tmp_path / "out"]) == 2
    assert "both kinds" in one_line(capsys)
    assert run(["--data", recordings, "--out", tmp_path]) == 2
    assert "holds something else than a benchmark" in one_line(capsys)
    assert run(["--data", recordings, "--out", done[0], "--target-clips", "1"]) == 2
    assert "a benchmark with --target-clips None, not 1" in one_line(capsys)


def run(words: list[object]) -> int:
    return run_command(lambda _: benchmark.main([str(word) for word in words]))


def one_line(capsys) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_systems_that_differ_in_scoring_alone_share_their_networks_and_never_train_one_at_the_same_time(recordings):
    asked = request(recordings, recordings.parent / "shared", systems=["featex", "featex_mel"], seeds=1)
    first, second = plan(asked).jobs[1:]
    assert (first.name, second.name) == ("featex", "featex_mel")
    assert first.parts == second.parts and first.keys != second.keys
    assert jobs._free([second], [first]) is None and jobs._free([second], []) is second
