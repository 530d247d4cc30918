"""What goes back to float, and that the gate sees what a form costs. About 5 s."""

import numpy as np
import onnx
import pytest

from calib.clips import training
from calib.collect import Collected
from edge_runtime import bundle, features
from edge_runtime.bundle import Model
from edge_runtime.scoring import Nearest
from export import fallback, qdq, ranges
from export.fallback import Form, Search
from export.gate import Figures, Judge, Limits
from export.hearing import Windows
from tests.export.conftest import MACHINES

PASSED = Figures(0.0, 1.0, {}, None, None, {}, [])
FAILED = Figures(0.0, 1.0, {}, None, None, {}, ["too far from FP32"])


@pytest.fixture(scope="module")
def search(exported, clips, tmp_path_factory):
    """Of the small network on some of its training clips."""
    windows = Windows(training(clips)[::3], bundle.load_model(exported))
    truth = windows.hear(exported / bundle.FP32)
    operations = qdq.multiply_accumulates(qdq.load(exported / bundle.FP32))
    scratch = tmp_path_factory.mktemp("tried") / "tried.onnx"
    return Search(windows, truth, np.arange(len(windows.clips)), operations, scratch)


@pytest.fixture(scope="module")
def form(exported, search):
    """Its form for TensorRT."""
    network = qdq.load(exported / bundle.FP32)
    found = ranges.calibrate(exported / bundle.FP32, search._windows.inputs)["minmax"]

    def write(left, file):
        qdq.write(network, qdq.plan(network, left), found, "trt", file)

    return Form("trt", qdq.plan(network).nodes("trt"), write)


@pytest.mark.parametrize("allowed", [0, 1, 2, 4, 99])
def test_no_more_layers_go_back_to_float_than_the_gate_asks(search, form, allowed):
    """A gate that lets so many products be quantized, and none of them blurs: each goes for the gate's sake."""

    def judge(file):
        weights = qdq.Graph(onnx.load(file).graph).readers
        products = {n.name for readers in weights.values() for n in readers if n.op_type in qdq.WEIGHTED}
        graph = qdq.Graph(onnx.load(file).graph)
        quantized = [n for n in graph.nodes if n.name in products and n.input[1] not in graph.constants]
        return PASSED if len(quantized) <= allowed else FAILED

    left = search.left(form, judge, limit=1e9)
    products = [one for one in form.nodes if not one.startswith("node_add")]
    back = [one.node for one in left if one.node in products]
    assert len(products) - len(back) == min(allowed, len(products))
    assert all(one.why == "gate (too far from FP32)" for one in left)


def test_what_blurs_most_for_its_cost_goes_first(search, form):
    noises = search._by_group(form)
    order = search._order(noises)
    assert {name for group in order for name in group} == set(form.nodes)
    worth = [noises[group] / (search.share(group) + fallback.LEAST_COST) for group in order]
    assert worth == sorted(worth, reverse=True)


def collected(clips, embeddings) -> Collected:
    windows = np.arange(len(clips))
    mel = np.zeros((len(clips), 4), np.float32)
    return Collected(list(clips), windows, {"embedding": embeddings.astype(np.float32)}, mel, windows >= 0)


@pytest.fixture(scope="module")
def many(clips):
    """Eighty normal clips of two machines, the first half fitted; the content of their files does not matter here."""
    own = {name: next(clip for clip in clips if clip.machine == name and clip.trains) for name in MACHINES}
    return [own[name] for _ in range(40) for name in MACHINES]


@pytest.fixture(scope="module")
def truth(many):
    return np.random.default_rng(0).normal(size=(len(many), 8))


@pytest.fixture(scope="module")
def judge(many, truth):
    model = Model("m", "s", {}, {"embedding": [8]}, window=features.WINDOW, scoring=Nearest(metric="euclidean"))
    return Judge(collected(many, truth), np.arange(len(many)) >= 40, model, Limits())


def test_a_form_that_gives_what_fp32_gives_passes(judge, many, truth):
    same = collected(many, truth)
    found = judge.figures(same, judge.fit(same))
    assert found.failures == [] and found.noise == pytest.approx(0.0) and found.mean_spearman == pytest.approx(1.0)
    assert found.false_alarms == found.false_alarms_fp32


def test_a_form_that_ranks_otherwise_fails(judge, many, truth):
    blurred = collected(many, truth + np.random.default_rng(1).normal(size=truth.shape))
    failures = judge.figures(blurred, judge.fit(blurred)).failures
    assert any("mean over machines: Spearman" in failure for failure in failures), failures


def test_a_shift_fails_under_the_references_of_another_form_alone(judge, many, truth):
    """References that are fitted with the shifted embeddings have moved along."""
    shifted = collected(many, truth + 3.0)
    assert judge.figures(shifted, judge.fit(shifted)).failures == []
    failures = judge.figures(shifted, judge.fit(collected(many, truth))).failures
    assert any("normal windows above the threshold" in failure for failure in failures), failures


def test_outputs_that_are_no_numbers_fail(judge, many, truth):
    broken = truth.copy()
    broken[-1] = np.nan
    found = judge.figures(collected(many, broken), judge.fit(collected(many, truth)))
    assert "outputs are not finite" in found.failures


def test_a_form_whose_scores_are_all_equal_fails(judge, many, truth):
    found = judge.figures(collected(many, np.ones_like(truth)), judge.fit(collected(many, np.ones_like(truth))))
    assert any("mean over machines: Spearman 0.0000" in failure for failure in found.failures), found.failures
