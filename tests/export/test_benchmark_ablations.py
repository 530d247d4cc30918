"""What a part of a system contributes, on clips of 0.7 s. About 10 s."""

import pytest

pytest.importorskip("torch", reason="pip install '.[export]': training and export need torch")

import numpy as np

from edge_runtime.errors import ConfigError
from export import benchmark
from export.bench import ablations, tables
from export.bench.plan import plan
from export.bench.results import ALL
from tests.export.test_benchmark import request, write_clips

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
    assert (asked.out / "official" / "featex_statex=0.0_featex=0.0" / "seed_0").is_dir()
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
