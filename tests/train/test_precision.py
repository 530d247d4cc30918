"""Mixed precision: losses near those of float32, and a scaler that may look for its scale."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from torch import Tensor

from edge_runtime.errors import AuscultError
from tests.train.conftest import CONFIGS, QUICK, error, train
from tests.train.processes import Classes, fit
from tests.train.test_train import losses
from train import checkpoint, run


def half() -> Fabric:
    """16-mixed on the CPU, which the command refuses: far too slow, but the same scaler."""
    scaler = torch.amp.GradScaler("cpu")
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    fabric.launch()
    return fabric


class Overflows(Classes):
    """The losses of these steps are more than 16 bits hold."""

    def __init__(self, steps: range) -> None:
        super().__init__()
        self.broken, self.at = steps, 0

    def steps(self, network: Any, batch: Any) -> Iterator[Tensor]:
        for loss in super().steps(network, batch):
            yield loss * math.inf if self.at in self.broken else loss
            self.at += 1


def test_bfloat16_loses_about_what_float32_does(trained, recordings, tmp_path):
    mixed = train(tmp_path / "run", recordings, "--epochs", "4", "--set", "training.precision=bf16-mixed")
    assert losses(mixed) != losses(trained)
    assert losses(mixed) == pytest.approx(losses(trained), rel=0.03)  # 8 bits of mantissa: 0.4 % a product
    weights = torch.load(mixed / checkpoint.CHECKPOINT, weights_only=True)["state_dict"].values()
    assert {array.dtype for array in weights} == {torch.float32, torch.int64}


@pytest.mark.parametrize("system", ["stgram_mfn", "tranself", "tfap"])
def test_losses_over_angles_take_bfloat16_embeddings(system, recordings, tmp_path):
    cut = [] if system == "stgram_mfn" else ["--set", "crop_frames=16"]
    words = ["--epochs", "1", "--set", "training.precision=bf16-mixed", *cut]
    assert math.isfinite(losses(train(tmp_path / "run", recordings, *words, config=system))[0])


def test_float16_without_a_gpu_is_one_line(recordings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    asked = [CONFIGS[0].with_name("featex.yaml"), "--data", recordings, "--out", tmp_path / "run", *QUICK]
    said = error(capsys, run.main, *asked, "--set", "training.precision=16-mixed")
    assert "training.precision 16-mixed: needs a GPU, and here is none; take bf16-mixed or 32-true" in said
    assert not (tmp_path / "run").exists()


def test_steps_that_overflow_16_bits_are_skipped_and_the_training_goes_on(recordings, tmp_path):
    fit(recordings, tmp_path, Overflows(range(1, 5)), half(), epochs=3, batch=8, learning_rate=0.1)
    state = torch.load(tmp_path / checkpoint.CHECKPOINT, weights_only=True)
    assert all(torch.isfinite(array).all() for array in state["state_dict"].values())
    assert state["scaler"]["scale"] == 2.0**12
    first, *rest = losses(tmp_path)
    assert math.isnan(first) and all(map(math.isfinite, rest)), "no batch of the first epoch had two finite losses"


def test_a_gradient_that_no_scale_makes_finite_stops_with_one_line(recordings, tmp_path):
    with pytest.raises(AuscultError, match=r"the loss is inf, and no scale makes its gradient finite in 16 bits; "):
        fit(recordings, tmp_path, Overflows(range(9999)), half(), epochs=30, batch=8, learning_rate=0.1)


def test_a_run_with_a_scaler_goes_on_with_its_scale(recordings, tmp_path):
    settings: dict[str, Any] = {"batch": 8, "learning_rate": 0.1}
    fit(recordings, tmp_path / "part", Overflows(range(1, 3)), half(), epochs=1, **settings)
    resumed = fit(recordings, tmp_path / "part", Classes(), half(), epochs=2, **settings)
    whole = fit(recordings, tmp_path / "whole", Overflows(range(1, 3)), half(), epochs=2, **settings)
    assert all(torch.equal(array, resumed[name]) for name, array in whole.items())
    scale = torch.load(tmp_path / "part" / checkpoint.CHECKPOINT, weights_only=True)["scaler"]["scale"]
    assert scale == 2.0**14
