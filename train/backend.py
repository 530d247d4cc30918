"""A network in torch where an exported one is expected: to score with, to compare with, and to measure."""

import msgspec
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_runtime import features
from edge_runtime.backends import Arrays, Backend, Pooled
from edge_runtime.bundle import Model


class TorchBackend:
    """A network as a backend."""

    def __init__(self, network: nn.Module, model: Model) -> None:
        self._network, self._inputs = network, list(model.inputs)

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> outputs by name."""
        with torch.inference_mode():
            outputs = self._network(**{name: torch.from_numpy(inputs[name]) for name in self._inputs})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def close(self) -> None:
        """Nothing is held."""


def open_torch(network: nn.Module, model: Model) -> Backend:
    """A network with what its model pools beside it."""
    return Pooled(model, TorchBackend(network, model))


def one_thread() -> None:
    """Run torch as a device runs its backend, so that times compare."""
    torch.set_num_threads(1)


def zeros(model: Model, windows: int) -> dict[str, torch.Tensor]:
    """Silent inputs of that many windows, by name."""
    return {name: torch.zeros(windows, *features.shape(spec, model.window)) for name, spec in model.inputs.items()}


def measured(network: nn.Module, model: Model) -> Model:
    """The model with its outputs' shapes, parameters and multiply-accumulates a window.

    Parameters are what is learned: no statistics, no covariances.
    """
    training = network.training
    device = next((weights.device for weights in network.parameters()), torch.device("cpu"))  # meta: shapes alone
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), device:
        outputs = network.eval()(**zeros(model, 1))
    network.train(training)
    return msgspec.structs.replace(
        model,
        outputs={name: list(tensor.shape[1:]) for name, tensor in outputs.items()},
        parameters=sum(weights.numel() for weights in network.parameters()),
        macs=counter.get_total_flops() // 2,
    )
