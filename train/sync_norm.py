"""Batch norms that see a batch over all processes.

torch's own (`nn.SyncBatchNorm`) refuses tensors of the CPU; there the one below stands in. A layer is changed by its
class, in place, and back: its weights, its statistics and their names stay what they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


@contextmanager
def synchronised(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Within, every batch norm of the module takes the statistics of all processes together."""
    plain = {layer: type(layer) for layer in module.modules() if type(layer) in SHARED}
    for layer, kind in plain.items():
        layer.__class__ = SHARED[kind] if device.type == "cpu" else nn.SyncBatchNorm
        layer.process_group = None  # type: ignore[assignment]  # all of them
    try:
        yield
    finally:
        for layer, kind in plain.items():
            layer.__class__ = kind
            del layer.process_group


class _Shared(nn.modules.batchnorm._BatchNorm):
    """A batch norm on the CPU whose mean and variance are those of all processes' rows."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, channels, ...] -> the same, as torch's BatchNorm does; a process may have no row."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        mean, variance, count = _statistics(input.float())
        self._remember(mean.detach(), variance.detach(), count)
        shape = (1, -1) + (1,) * (input.ndim - 2)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        normed = (input.float() - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            normed = normed + self.bias.view(shape)
        return normed.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Move the running statistics; the variance without bias, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1.0, 1.0)), share)


class _Shared1d(_Shared, nn.BatchNorm1d):
    """[B, channels] or [B, channels, length]."""


class _Shared2d(_Shared, nn.BatchNorm2d):
    """[B, channels, height, width]."""


SHARED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _Shared1d, nn.BatchNorm2d: _Shared2d}


def _statistics(rows: Tensor) -> tuple[Tensor, Tensor, float]:
    """[B, channels, ...] -> mean and variance of each channel over all processes, and how many values each has.

    Each process computes its own; their sums are made of these in float64, where nothing cancels.
    """
    axes = [0, *range(2, rows.ndim)]
    own = float(rows.numel() // rows.shape[1])
    mean = rows.sum(dim=axes) / max(own, 1.0)
    centred = rows - mean.view(1, -1, *[1] * (rows.ndim - 2))
    mean64, variance64 = mean.double(), (centred.square().sum(dim=axes) / max(own, 1.0)).double()
    count = mean64.new_full((1,), own)
    sums: Tensor = all_reduce(torch.cat([own * mean64, own * (variance64 + mean64.square()), count]))
    first, second, total = sums.split([len(mean), len(mean), 1])
    mean64 = first / total
    variance64 = (second / total - mean64.square()).clamp_min(0.0)
    return mean64.to(rows.dtype), variance64.to(rows.dtype), float(total.detach())
