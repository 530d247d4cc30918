"""TensorRT-RTX takes every system in each precision, untrained, at the window it listens with, and without a GPU.

`make test` builds the default system in INT8, `make verify` all of them.
"""

import importlib.util
import itertools
import json
import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest
import torch

from edge_runtime import features
from export import half, qdq, ranges, to_onnx
from export.bench import registry
from tests.conftest import ROOT, save_wav2vec
from train import run_folder, settings
from train.models import SYSTEMS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install '.[tensorrt-rtx]': x86-64 alone has it"
)
DEFAULT = ("featex", "int8")
PRECISIONS = ("fp32", "fp16", "int8")
CASES = [
    pytest.param(case, marks=[] if case == DEFAULT else [pytest.mark.verify], id="-".join(case))
    for case in itertools.product(registry.systems(), PRECISIONS)
]


def write(name, precision, folder):
    """The ONNX file of an untrained system; lower precisions as they suit noise."""
    changes = [f"wav2vec.weights={save_wav2vec(folder / 'wav2vec')}"] if name == "tdnn" else []
    config = registry.load(name, [f"{name}:{change}" for change in changes])
    torch.manual_seed(0)
    network = SYSTEMS[settings.system_of(config)].Network(config, run_folder.shapes(config), registry.CLASSES).eval()
    model = run_folder.describe(name, config, network, [])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zeros = {one: torch.zeros(2, *features.shape(spec, model.window)) for one, spec in model.inputs.items()}
        outputs = {one: [*array.shape[1:]] for one, array in network(**zeros).items()}
    model = type(model)(**{**{field: getattr(model, field) for field in model.__struct_fields__}, "outputs": outputs})
    file = folder / "model.onnx"
    to_onnx.write_graph(network, model, file)
    if precision == "fp32":
        return file
    random = np.random.default_rng(0)
    noise = {
        one: random.normal(-50.0 if "mel" in one else 0.0, 10.0, (1, *features.shape(spec, model.window)))
        for one, spec in model.inputs.items()
    }
    batches = [{one: array.astype(np.float32) for one, array in noise.items()}]
    graph, lower = qdq.load(file), folder / f"model.{precision}.onnx"
    if precision == "fp16":
        half.write(graph, half.kept(graph, batches), lower)
    else:
        qdq.write(graph, qdq.plan(graph), ranges.calibrate(file, batches)["minmax"], "trt", lower)
    return lower


@pytest.mark.parametrize("case", CASES)
def test_it_is_built_ahead_of_time_for_one_to_four_windows(case, tmp_path):
    name, precision = case
    file, engine = write(name, precision, tmp_path), tmp_path / "out" / "a.engine"
    assert max(one.version for one in onnx.load(file).opset_import if one.domain == "") <= 20
    command = [ROOT / "export/build_engine.py", "--onnx", file, "-e", engine, "--provider", "tensorrt-rtx", "--json"]
    aims = ["--compute-capability", "8.6", "--batch", "4"]
    done = subprocess.run([sys.executable, *command, *aims], capture_output=True, text=True)
    assert done.returncode == 0, f"{name}, {precision}: {done.stderr}"
    (found,) = json.loads(done.stdout)
    made = found["made"]
    assert (found["engine"], made["precision"], made["batch"]) == (str(engine), precision, 4)
    assert made["replayed"] == "not replayed: no GPU here that it is built for"
    assert sorted(one.name for one in engine.parent.iterdir()) == ["a.engine", "a.engine.json"]
