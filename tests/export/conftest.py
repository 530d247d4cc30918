"""A small network and two machines, exported, quantized and fitted once for all tests of this folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from calib.clips import Clip, index, training
from calib.fit import fit_folder
from edge_runtime import bundle
from edge_runtime.features import LogMel
from edge_runtime.scoring import Nearest
from export import compare, forms, quantize, to_onnx
from export.gate import Limits
from tests.conftest import SHORT, hum, write_wav

MACHINES = {"fan": 49.0, "pump": 113.0}  # Hz
TRAIN, TEST = 14, 8
ANYTHING = forms.Wanted(noise=1e9, limits=Limits(1.0, -1.0, 1.0))  # everything in the lower precision


class Small(nn.Module):
    """A stem, a residual block with squeeze-and-excitation, a pooled embedding: what featex is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.head = nn.Linear(8 * 64, 16, bias=False)

    def forward(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem((log_mel.unsqueeze(1) + 60.0) / 20.0)
        y = self.body(x)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean(dim=(2, 3))))))
        return {"embedding": self.head((x + y * gate[:, :, None, None]).mean(dim=2).flatten(1))}


MODEL = bundle.Model(
    name="small",
    system="small",
    inputs={"log_mel": LogMel()},
    outputs={},
    window=SHORT,
    hop=8 * 512,
    scoring=Nearest(metric="cosine", references="windows"),
)


def machine_sound(pitch: float, seed: int, anomaly: bool) -> np.ndarray:
    """A hum that varies in level from clip to clip; an anomaly has a whistle of a random strength in it."""
    random = np.random.default_rng(seed)
    sound = random.uniform(0.5, 1.0) * hum(1.2, seed, pitch=pitch)
    whistle = np.sin(2 * np.pi * 3000 * np.arange(len(sound)) / 16_000)
    return (sound + anomaly * random.uniform(0.0, 0.1) * whistle).astype(np.float32)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[Clip]:
    """A plain data set of two machines."""
    root = tmp_path_factory.mktemp("data")
    parts = {"train/normal": TRAIN, "test/normal": TEST, "test/anomaly": TEST}
    for number, (name, pitch) in enumerate(MACHINES.items()):
        for kind, (part, count) in enumerate(parts.items()):
            for i in range(count):
                sound = machine_sound(pitch, 1000 * number + 100 * kind + i, "anomaly" in part)
                write_wav(root / name / part / f"{i:02d}.wav", sound)
    return index(root)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """Random weights; batch norms that have seen data."""
    torch.manual_seed(0)
    small = Small()
    for _ in range(20):
        small(log_mel=-50 + 10 * torch.randn(8, 31, 128))
    return small.eval()


@pytest.fixture(scope="session")
def exported(network, clips, tmp_path_factory) -> Path:
    """A model folder with FP32 alone."""
    out = tmp_path_factory.mktemp("models") / "exported"
    assert to_onnx.export(network, MODEL, clips, out).equal
    return out


@pytest.fixture(scope="session")
def quantized(exported, clips, tmp_path_factory) -> Path:
    """The same with its other forms."""
    out = shutil.copytree(exported, tmp_path_factory.mktemp("models") / "quantized")
    quantize.quantize(out, clips, count=20)
    return out


@pytest.fixture(scope="session")
def all_int8(exported, clips, tmp_path_factory) -> Path:
    """The same with everything quantized that may be."""
    out = shutil.copytree(exported, tmp_path_factory.mktemp("models") / "all_int8")
    quantize.quantize(out, clips, ANYTHING, count=20)
    return out


@pytest.fixture(scope="session")
def fitted_once(quantized, clips, tmp_path_factory) -> Path:
    """And with machines; copy it before changing it."""
    out = shutil.copytree(quantized, tmp_path_factory.mktemp("models") / "fitted")
    fit_folder(out, training(clips), 0.01, 0)
    return out


@pytest.fixture(scope="session")
def compared(fitted_once, clips) -> compare.Comparison:
    return compare.compare(fitted_once, clips)


@pytest.fixture
def fitted(fitted_once, tmp_path):
    """A model folder that a test may change."""
    return shutil.copytree(fitted_once, tmp_path / "fitted")
