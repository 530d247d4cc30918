"""What moves the weights: their optimisers, their decay, the learning rate."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from train.models.base import Config, Training

Groups = list[dict[str, Any]]


class Together(Optimizer):
    """Several optimisers as one: a gradient scaler lets all of them step or none."""

    def __init__(self, parts: dict[str, Optimizer]) -> None:
        self.parts = parts
        super().__init__(self._groups(), {})

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part in self.parts.values():
            part.step()

    def set_rate(self, rate: float) -> None:
        """The learning rate of all."""
        for group in self.param_groups:
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self.param_groups = self._groups()

    def _groups(self) -> Groups:
        return [group for part in self.parts.values() for group in part.param_groups]


def build(config: Config, weights: Iterable[tuple[str, nn.Parameter]]) -> Together:
    """Weights by their names in the checkpoint -> each in the optimiser that the system chooses for it.

    A weight that needs no gradient is in one too: it may be thawed later.
    """
    found: dict[str, list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, weight in weights:
        found[config.optimiser_of(name)].append((name, weight))
    return Together({kind: KINDS[kind](config.training, named) for kind, named in found.items()})


def layers(named: Iterable[tuple[str, nn.Parameter]]) -> list[nn.Parameter]:
    """What L2 is for: the network's weights of two or more dimensions, not norms, biases or class centres."""
    return [weight for name, weight in named if name.startswith("network.") and weight.ndim > 1]


def penalised(config: Config, named: Iterable[tuple[str, nn.Parameter]]) -> list[nn.Parameter]:
    """The weights whose L2 is a part of the loss, since their optimiser does not add its gradient."""
    if not config.training.l2:
        return []
    return layers((name, weight) for name, weight in named if config.optimiser_of(name) == "adamw")


def learning_rate(training: Training, epoch: int, batch: int, batches: int) -> float:
    """Of a batch (both counted from 0); the steps that an objective takes on one batch share it."""
    if training.schedule == "cosine":
        done = (epoch * batches + batch) / (training.epochs * batches)
        share = max(0.0, done - training.hold) / (1.0 - training.hold)
        fall = 0.5 * (1.0 + math.cos(math.pi * share))
        return training.learning_rate * (training.floor + (1.0 - training.floor) * fall)
    drops = training.drops if training.schedule == "steps" else []
    return training.learning_rate * 0.1 ** sum(epoch >= round(drop * training.epochs) for drop in drops)


Named = list[tuple[str, nn.Parameter]]


def _adamw(training: Training, named: Named) -> Optimizer:
    """Decay is decoupled (Loshchilov and Hutter 2019), for all weights of two or more dimensions."""
    wide = [weight for _, weight in named if weight.ndim > 1]
    return torch.optim.AdamW(_decayed(named, wide, training.weight_decay), lr=training.learning_rate)


def _sgd(training: Training, named: Named) -> Optimizer:
    return torch.optim.SGD(_with_l2(training, named), lr=training.learning_rate, momentum=training.momentum)


def _adam(training: Training, named: Named) -> Optimizer:
    return torch.optim.Adam(_with_l2(training, named), lr=training.learning_rate)


def _adamax(training: Training, named: Named) -> Optimizer:
    return torch.optim.Adamax(_with_l2(training, named), lr=training.learning_rate)


def _with_l2(training: Training, named: Named) -> Groups:
    """The gradient of L2, 2 l2 w, is what `weight_decay` of these adds."""
    return _decayed(named, layers(named), 2.0 * training.l2)


def _decayed(named: Named, chosen: list[nn.Parameter], decay: float) -> Groups:
    taken = {id(weight) for weight in chosen}
    rest: list[Tensor] = [weight for _, weight in named if id(weight) not in taken]
    groups: Groups = [{"params": chosen, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


KINDS: dict[str, Callable[[Training, Named], Optimizer]] = {
    "adam": _adam,
    "adamax": _adamax,
    "adamw": _adamw,
    "sgd": _sgd,
}
