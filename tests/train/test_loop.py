"""The optimiser's steps: rates, decays, and what happens when a loss is no number."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from calib.clips import index, select
from edge_runtime.errors import AuscultError
from tests.train.conftest import tiny
from train import checkpoint, data, loop, optimisers, parallel
from train.models import autoencoder, base
from train.models.base import Training


def rates(training: Training, batches: int = 4) -> list[float]:
    return [
        optimisers.learning_rate(training, epoch, batch, batches)
        for epoch in range(training.epochs)
        for batch in range(batches)
    ]


def test_a_constant_rate_is_constant():
    assert set(rates(Training(epochs=3, learning_rate=0.1))) == {0.1}


def test_a_cosine_falls_with_every_batch_from_the_first_rate_to_nothing_at_the_end():
    found = rates(Training(epochs=5, learning_rate=0.1, schedule="cosine"))
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 20)) for step in range(20)], rel=1e-12)
    assert found[0] == 0.1 and found == sorted(found, reverse=True)
    assert optimisers.learning_rate(Training(epochs=5, learning_rate=0.1, schedule="cosine"), 5, 0, 4) == 0.0


def test_steps_drop_the_rate_to_a_tenth_after_shares_of_the_epochs():
    training = Training(epochs=120, learning_rate=0.1, schedule="steps", drops=[50 / 120, 0.75])
    by_epoch = rates(training, batches=1)
    assert [by_epoch.count(rate) for rate in dict.fromkeys(by_epoch)] == [50, 40, 30]
    assert list(dict.fromkeys(by_epoch)) == pytest.approx([0.1, 0.01, 0.001])
    assert set(rates(msgspec.structs.replace(training, schedule="constant"))) == {0.1}


class Linear(nn.Module):
    """A weight and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)


class Centres(base.Objective):
    """A loss whose gradient is nothing, so that what moves a weight is its decay; with centres of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.ones(4, 2))

    def steps(self, network: Any, batch: base.Batch) -> Iterator[Tensor]:
        yield 0.0 * (network.layer.weight.sum() + network.layer.bias.sum() + self.centres.sum())


def moved(recordings: Path, folder: Path, epochs: int = 1, **training) -> tuple[float, float, float]:
    """Epochs of two batches -> by how much the weights, the biases and the centres were multiplied."""
    network, objective = Linear(), Centres()
    nn.init.ones_(network.layer.weight), nn.init.ones_(network.layer.bias)
    fit(recordings, folder, network, objective, Training(epochs=epochs, batch=8, workers=0, **training))
    ends = (network.layer.weight, network.layer.bias, objective.centres)
    assert all(torch.equal(end, end.flatten()[0].expand_as(end)) for end in ends)
    return tuple(float(end.detach().flatten()[0]) for end in ends)  # type: ignore[return-value]


def fit(recordings: Path, folder: Path, network: nn.Module, objective: base.Objective, training: Training) -> None:
    going = looped(recordings, folder, network, objective, tiny("autoencoder", training=training))
    loop.fit(going, [])


def looped(
    recordings: Path, folder: Path, network: nn.Module, objective: base.Objective, config: base.Config
) -> loop.Loop:
    clips = select(index(recordings), split="train")
    batches, _ = data.loaders(clips, data.classes_of(clips), config)
    (folder / checkpoint.CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
    return loop.Loop(parallel.begin(config.training.precision), network, objective, batches, config, folder)


def test_adamw_takes_its_decay_off_every_weight_of_two_dimensions_and_no_other(recordings, tmp_path):
    decayed = moved(recordings, tmp_path, optimiser="adamw", learning_rate=0.1, weight_decay=0.5, l2=0.0)
    assert decayed == pytest.approx((0.95**2, 1.0, 0.95**2), abs=1e-6)  # float32


def test_sgd_with_l2_takes_the_gradient_of_the_squares_off_the_weights_of_layers_alone(recordings, tmp_path):
    shrunk = moved(recordings, tmp_path, optimiser="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.5, l2=0.25)
    assert shrunk == pytest.approx((0.95**2, 1.0, 1.0), abs=1e-6)  # w - 0.1 * 2 * 0.25 w
    again = moved(recordings, tmp_path / "momentum", optimiser="sgd", learning_rate=0.1, momentum=0.9, l2=0.25)
    assert again[0] == pytest.approx(0.95 - 0.1 * (0.9 * 0.5 + 0.5 * 0.95), abs=1e-6)


def test_adamax_takes_l2_as_adam_does_and_its_first_steps_are_of_the_rate(recordings, tmp_path):
    moves = moved(recordings, tmp_path, optimiser="adamax", learning_rate=0.1, l2=0.25)
    assert moves == pytest.approx((0.8, 1.0, 1.0), abs=7e-3)  # the second gradient is 0.9 of the first, the largest


class TwoKinds(
    autoencoder.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="autoencoder"
):
    """The layer's weight by SGD, all others by the optimiser of the settings."""

    def optimiser_of(self, parameter: str) -> str:
        return "sgd" if parameter == "network.layer.weight" else self.training.optimiser


def test_a_system_may_choose_another_optimiser_for_some_weights_and_all_follow_the_schedule(recordings, tmp_path):
    training = Training(
        epochs=2, batch=8, workers=0, optimiser="adamw", learning_rate=0.1, weight_decay=0.5, l2=0.25, momentum=0.0,
        schedule="cosine",
    )  # fmt: skip
    config = TwoKinds(window_frames=20, hop_frames=4, training=training)
    halves = [0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]  # the rates
    for folder, epochs in (("whole", [2]), ("parts", [1, 2])):
        for epoch in epochs:
            network, objective = Linear(), Centres()
            nn.init.ones_(network.layer.weight), nn.init.ones_(network.layer.bias)
            going = looped(recordings, tmp_path / folder, network, objective, config)
            while going.progress.epoch < epoch:
                going.epoch()
        ends = [float(array.detach().flatten()[0]) for array in (network.layer.weight, objective.centres)]
        by_sgd, by_adamw = (math.prod(1 - 0.5 * rate for rate in halves) for _ in range(2))
        assert ends == pytest.approx([by_sgd, by_adamw], abs=1e-6)  # float32
        assert set(going.optimisers.state_dict()) == {"sgd", "adamw"}


def test_a_weight_that_needs_no_gradient_is_left_as_it_is(recordings, tmp_path):
    network = Linear()
    network.layer.weight.requires_grad_(False)
    before = network.layer.weight.clone()
    training = Training(epochs=1, batch=8, workers=0, optimiser="adamw", weight_decay=0.5, learning_rate=0.1)
    fit(recordings, tmp_path, network, Centres(), training)
    assert torch.equal(network.layer.weight, before)


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_l2_is_a_part_of_the_loss_of_adam_and_of_adamw(recordings, tmp_path, optimiser):
    moves = moved(recordings, tmp_path, optimiser=optimiser, learning_rate=0.1, l2=0.25)
    # the first two steps of Adam are 0.1 whatever the size of a gradient that stays
    assert moves == pytest.approx((0.8, 1.0, 1.0), abs=5e-3)


def test_the_rate_of_a_schedule_is_that_of_the_optimiser(recordings, tmp_path):
    training = {"optimiser": "sgd", "learning_rate": 0.1, "momentum": 0.0, "l2": 0.25, "schedule": "cosine"}
    halves = [1 + math.cos(math.pi * step / 4) for step in range(4)]  # 0.05 times these are the rates
    kept = math.prod(1 - 0.5 * 0.05 * half for half in halves)
    assert moved(recordings, tmp_path, epochs=2, **training)[0] == pytest.approx(kept, abs=1e-6)  # float32


class Breaks(base.Objective):
    """From one step on, a loss that is no number; or a finite loss that has no gradient."""

    def __init__(self, step: int, loss: float | None) -> None:
        super().__init__()
        self.left, self.loss = step, loss

    def steps(self, network: Any, batch: base.Batch) -> Iterator[Tensor]:
        total = network.layer.weight.square().sum()
        self.left -= 1
        if self.left > 0:
            yield total
        else:
            yield total * self.loss if self.loss is not None else total + (0.0 * total).sqrt()


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_with_the_step_and_the_last_good_checkpoint(recordings, tmp_path, loss):
    file = tmp_path / checkpoint.CHECKPOINT
    with pytest.raises(AuscultError) as caught:
        fit(recordings, tmp_path, Linear(), Breaks(6, loss), Training(epochs=4, batch=8, workers=0))
    said = str(caught.value)
    assert said.startswith(f"epoch 3, step 2 of 2: the loss is {loss}; the last good checkpoint is {file}; ")
    assert "\n" not in said
    state = torch.load(file, weights_only=True)
    assert state["progress"]["epoch"] == 2 and all(
        torch.isfinite(array).all() for array in state["state_dict"].values()
    )


def test_a_loss_that_is_no_number_in_the_first_epoch_leaves_no_checkpoint(recordings, tmp_path):
    with pytest.raises(AuscultError, match="epoch 1, step 1 of 2: the loss is nan; no checkpoint yet"):
        fit(recordings, tmp_path, Linear(), Breaks(1, math.nan), Training(epochs=4, batch=8, workers=0))
    assert not (tmp_path / checkpoint.CHECKPOINT).exists()


def test_weights_that_a_finite_loss_has_broken_are_not_saved(recordings, tmp_path):
    """The last step of an epoch: no later loss of it says so."""
    with pytest.raises(AuscultError, match=r"after epoch 2: network\.layer\.weight is not finite; the last good"):
        fit(recordings, tmp_path, Linear(), Breaks(4, None), Training(epochs=4, batch=8, workers=0))
    state = torch.load(tmp_path / checkpoint.CHECKPOINT, weights_only=True)
    assert state["progress"]["epoch"] == 1 and all(
        torch.isfinite(array).all() for array in state["state_dict"].values()
    )


def test_a_checkpoint_says_what_it_was_trained_with(recordings, tmp_path):
    training = Training(epochs=1, batch=8, workers=0, learning_rate=0.01)
    fit(recordings, tmp_path, Linear(), Centres(), training)
    stored = torch.load(tmp_path / checkpoint.CHECKPOINT, weights_only=True)[checkpoint.CONFIG_KEY]
    assert msgspec.convert(stored, autoencoder.Config) == tiny("autoencoder", training=training)


def test_nothing_is_drawn_where_stderr_is_no_terminal(recordings, tmp_path, capsys):
    fit(recordings, tmp_path, Linear(), Centres(), Training(epochs=2, batch=8, workers=0))
    assert capsys.readouterr().err == ""
