"""Every system of train/configs goes the whole way: one epoch, export, INT8, references, bundle, replay, scores.

About two minutes and a half; `make verify` adds those whose graphs are much the same.
"""

import json
import shutil

import onnx
import pytest

from calib import fit
from edge_runtime import __main__ as edge
from edge_runtime import bundle, config
from edge_runtime.cli import run_command
from export import lint, pack, qdq, quantize, to_onnx
from export.quantization import Quantization
from tests.conftest import ROOT, hum, save_wav2vec, write_wav
from train import evaluate, run, settings

FRAMES = 24  # 0.8 s
SMALL = ["window_frames=24", "hop_frames=8", "training.batch=8", "training.workers=0", "training.epochs=1"]
LARGE = {"oevae", "tranself", "tranself_one_condition"}  # layers are not tried one by one: that takes a minute
TWINS = {"featex", "tfap", "tranself"}  # their graphs are those of featex_mel, tfap_edge, tranself_one_condition
# Settings without which a batch of 8 clips, or a single epoch, is refused.
OWN = {"tdnn": ["clips_per_class=4", "wav2vec.epochs=0"], "tdnn_edge": ["clips_per_class=4"]}
SYSTEMS = [
    pytest.param(file.stem, marks=[pytest.mark.verify] if file.stem in TWINS else [])
    for file in sorted((ROOT / "train" / "configs").glob("*.yaml"))
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two fans in two domains: 8 training clips, 2 normal and 2 anomalous test clips each."""
    return write_fans(tmp_path_factory.mktemp("recordings"), train=8)


def write_fans(root, train):
    """Clips of two fans, the last four of each for testing."""
    for section, pitch in (("00", 60.0), ("01", 95.0)):
        for at in range(train + 4):
            domain = "target" if at % 2 else "source"
            split, label = ("train", "normal") if at < train else ("test", "anomaly" if at >= train + 2 else "normal")
            sound = hum(0.85, seed=at, pitch=pitch * (1.3 if domain == "target" else 1.0))
            sound[:: 400 if label == "anomaly" else len(sound)] += 0.3
            name = f"section_{section}_{domain}_{split}_{label}_{at:04d}_spd_{at % 4}.wav"
            write_wav(root / "dev_data" / "fan" / split / name, sound)
    return root


@pytest.fixture(scope="module")
def with_outliers(recordings, tmp_path_factory):
    """The same and four clips of another type, for a system that learns from those too."""
    root = tmp_path_factory.mktemp("with_outliers")
    (root / "dev_data").mkdir()
    (root / "dev_data" / "fan").symlink_to(recordings / "dev_data" / "fan")
    for at in range(4):
        name = f"section_00_source_train_normal_{at:04d}_spd_1.wav"
        write_wav(root / "dev_data" / "pump" / "train" / name, hum(0.85, seed=30 + at, pitch=140.0))
    return root


@pytest.fixture(scope="module", params=SYSTEMS)
def packed(request, recordings, with_outliers, tmp_path_factory):
    """(system, its model folder, its bundle)."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    yaml = str(ROOT / "train" / "configs" / f"{name}.yaml")
    chosen = settings.load(yaml)
    own = [f"{key}=16" for key in ("crop_frames", "segment_frames") if getattr(chosen, key, 0)] + OWN.get(name, [])
    if getattr(chosen, "wav2vec", None):
        own.append(f"wav2vec.weights={save_wav2vec(folder / 'wav2vec')}")
    sets = [*SMALL, *own]
    changes = [word for change in sets for word in ("--set", change)]
    data = ["--data", str(recordings)]
    heard = ["--data", str(with_outliers), "--machine-type", "fan"] if chosen.outliers else data
    commands = [
        (run.main, [yaml, *heard, "--out", str(folder / "run"), *changes]),
        (evaluate.main, [str(folder / "run"), *data]),
        (to_onnx.main, [str(folder / "run"), *data, "--out", str(folder / "model")]),
        (quantize.main, [str(folder / "model"), *data, *(["--noise", "1.0"] if name in LARGE else [])]),
        (fit.main, [str(folder / "model"), *data]),
        (pack.main, [str(folder / "model"), *data, "--out", str(folder / "bundle")]),
    ]
    for command, words in commands:
        assert run_command(command, words) == 0, words
    return name, folder / "model", folder / "bundle"


def test_its_bundle_is_as_packed_and_scores_a_file_on_the_device_side(packed, tmp_path, capsys):
    name, _, folder = packed
    assert run_command(edge.main, ["check", str(folder)]) == 0
    file = write_wav(tmp_path / "new.wav", hum(1.5, seed=50, pitch=60.0))
    capsys.readouterr()
    assert run_command(edge.main, ["score", str(folder), "--machine", "fan_section_00", str(file)]) == 0
    scores = [json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 3 and all(isinstance(score, float) for score in scores), name
    assert bundle.open_bundle(folder).manifest.accuracy["fan_section_00"].spearman is not None


@pytest.mark.parametrize("form", ["cpu", "trt", "fp16"])
def test_its_other_forms_keep_the_rules_of_tensorrt(packed, form):
    name, folder, _ = packed
    file = folder / quantize.FILES[form]
    assert lint.faults(file, form) == []
    graph = onnx.load(file).graph
    assert {node.op_type for node in graph.node}.isdisjoint({"DFT", "Loop", "If", "Scan", "Mod", "NonZero"}), name


def test_what_was_found_of_its_forms_goes_with_it(packed):
    _, folder, out = packed
    found = config.load_json(out / bundle.QUANTIZATION, Quantization)
    assert found.failures == [] and found.network == bundle.sha256(folder / bundle.FP32)


@pytest.mark.verify
def test_its_forms_pass_the_gate_on_clips_that_suffice_to_judge(packed, recordings, tmp_path):
    """Layers go back to float until they do; 28 clips of two machines are held back."""
    name, folder, _ = packed
    again, data = tmp_path / "model", tmp_path / "many"
    again.mkdir()
    for file in (bundle.FP32, bundle.MODEL):
        shutil.copyfile(folder / file, again / file)
    write_fans(data, train=24)
    words = [str(again), "--data", str(data), "--choose-on", str(recordings), "--clips", "20"]
    assert run_command(quantize.main, words) == 0
    found = config.load_json(again / bundle.QUANTIZATION, Quantization)
    for form in ("cpu", "trt", "fp16"):
        figures = found.forms[form].figures
        assert figures.mean_spearman is None or figures.mean_spearman >= 0.98, (name, form)
        assert figures.false_alarms is not None and set(figures.auc_drop) == {"fan_section_00", "fan_section_01"}
        assert max(figures.auc_drop.values()) <= 0.005, (name, form)


def test_what_a_topk_chooses_by_stays_in_float():
    """The lags of an auto-correlation: rounded, other periods would be chosen."""
    graph = onnx.parser.parse_graph("""
        agraph (float[1,4,8] x) => (float[1,4,2] best, int64[1,4,2] at) <float[8,8] w, float[8,8] v, int64[1] k = {2}>
        { y = MatMul(x, w)  z = Relu(y)  u = MatMul(x, v)  best, at = TopK(z, k) }""")
    for number, node in enumerate(graph.node):
        node.name = f"n{number}"
    for name in ("w", "v"):
        graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [8, 8], [0.0] * 64))
    assert qdq.Graph(graph).choosers() == {"n0", "n1"}
