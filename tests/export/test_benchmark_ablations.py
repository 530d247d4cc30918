"""What a part of a system contributes, on clips of 0.7 s. About 10 s."""

import pytest

pytest.importorskip("torch", reason="pip install '.[export]': training and export need torch")

from pathlib import Path

import msgspec
import numpy as np

from calib.clips import Clip
from edge_runtime.errors import ConfigError
from edge_runtime.scoring import Mahalanobis
from export import benchmark
from export.bench import ablations, results, tables, trained
from export.bench.draws import Judge
from export.bench.jobs import Done
from export.bench.plan import plan
from export.bench.results import ALL, Judged, System
from export.bench.scores import Scored
from tests.export.test_benchmark import request, write_clips
from train import settings

STATEX, SCORING = "featex:statex=0.0; featex=0.0", "featex:scoring={kind: nearest, metric: euclidean}"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    root = tmp_path_factory.mktemp("ablations")
    return request(write_clips(root / "data"), root / "out", seeds=1, ablations=[STATEX, SCORING])


def test_an_ablation_is_trained_anew_only_where_its_training_differs(asked):
    planned = plan(asked)
    whole, statex, scoring = planned.jobs[1:]
    assert planned.ablations == {"featex statex=0.0 featex=0.0": "featex", scoring.name: "featex"}
    assert statex.parts != whole.parts == scoring.parts and scoring.keys != whole.keys
    assert planned.configs[statex.name].statex == planned.configs[statex.name].featex == 0.0
    assert planned.configs["featex"].statex == 0.5


def test_the_table_of_parts_holds_the_whole_and_what_each_part_adds_to_it(asked):
    found = benchmark.benchmark(asked)
    rows = {one.name: one for one in found.systems}
    whole, statex = rows["featex"], rows["featex statex=0.0 featex=0.0"]
    for name, interval in statex.judged[ALL].part.items():
        gain = whole.judged[ALL].figures[name].value - statex.judged[ALL].figures[name].value
        assert interval.value == pytest.approx(gain, abs=1e-12) and interval.low <= interval.high
    assert not whole.judged[ALL].part
    total, parts, *_ = tables.tables(found)
    assert not {one.name for one, _ in total.rows} & {one.name for one in found.systems if one.of}
    assert next(one.name for one, _ in parts.rows) == "featex" and len(parts.rows) == 3
    assert "What each part contributes" in (asked.out / "results.html").read_text()
    assert (asked.out / "official" / ablations.file_name(statex.name) / "seed_0").is_dir()
    assert np.isfinite(statex.training_s or np.nan)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["featex"], "wanted NAME:KEY=VALUE"),
        (["statex=0.0"], "wanted NAME:KEY=VALUE"),
        (["tfap:mixup=none"], "tfap is not benchmarked"),
        (["featex:statex=0.0", "featex:statex=0.0"], "given twice"),
    ],
)
def test_mistakes_are_named(words, said):
    with pytest.raises(ConfigError, match=said):
        ablations.read(words, ["featex"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("featex:statex=0.5", "changes nothing that featex is not already"),
        ("featex:training.workers=3", "changes nothing"),
        ("featex:training.seed=5", "--seeds N trains seeds"),
    ],
)
def test_an_ablation_that_changes_nothing_is_no_row_of_zeros(asked, change, said):
    with pytest.raises(ConfigError, match=said):
        plan(msgspec.structs.replace(asked, ablations=[change]))


def test_a_part_is_what_it_is_over_the_seeds_that_both_have():
    """The ablation's second seed failed: what the whole's second seed adds is no part's doing."""
    rng = np.random.default_rng(0)
    labels = [at % 2 for at in range(40)]
    clips = [
        Clip(Path(f"{at}.wav"), "fan", "section_00", "test", None, "anomaly" if one else "normal", "")
        for at, one in enumerate(labels)
    ]
    judge = Judge(clips, 2020, resamples=20)
    first, second = (Scored(scores={"fan_section_00": rng.normal(size=40) + g * np.array(labels)}) for g in (1.0, 9.0))
    done = Done(scored={"whole": {0: first, 1: second}, "whole x=0": {0: first}})
    drawn = judge.judge({"fan_section_00": [first.scores["fan_section_00"]]})
    judged = {machine: Judged(dict(zip(judge.names, one.intervals, strict=True)), {}) for machine, one in drawn.items()}
    row = System("whole x=0", "network", "", of="whole", judged=judged)
    found = results._with_part(row, done, judge).judged[ALL].part
    assert {one.value for one in found.values()} == {0.0}
    assert results._with_part(row, Done(scored={"whole": {1: second}, "whole x=0": {0: first}}), judge) == row


def test_names_of_files_differ_where_names_of_rows_do_and_are_short():
    names = ["tdnn w=/data/a", "tdnn w=/data_a", "a x=[0.1, 0.2]", "a x=[0.1,0.2]", "featex", "a " + 300 * "b"]
    files = [ablations.file_name(name) for name in names]
    assert len(set(files)) == len(names) and files[4] == "featex" and max(map(len, files)) < 100
    assert all("/" not in file for file in files)


def test_a_network_of_other_settings_than_its_folder_says_is_not_used(asked, tmp_path):
    """As if a default had been another when it was trained."""
    whole = plan(msgspec.structs.replace(asked, ablations=[], out=tmp_path)).jobs[1]
    file = tmp_path / "config.yaml"
    before = msgspec.structs.replace(whole.config, statex=0.25, scoring=Mahalanobis(), hop_frames=7)
    settings.save(file, before)
    with pytest.raises(ConfigError, match=r"trained with statex 0.25, now 0.5; move its folder away"):
        trained._check_settings(file, whole.config)
    settings.save(file, msgspec.structs.replace(before, statex=0.5))
    trained._check_settings(file, whole.config)
