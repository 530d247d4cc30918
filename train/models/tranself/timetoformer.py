"""The temporal branch: auto-correlation in place of attention, and what moves slowly taken away (Autoformer:
Wu et al., NeurIPS 2021).

A correlation is the mean over channels, so that all heads of a layer would share their lags: heads change nothing, and
there are none. Each clip has its own lags, in training too. No transform and no roll by data: TensorRT takes the graph.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL, STEP = 1024, 512  # samples: the frames of the log-mel
LAYERS, HIDDEN = 2, 512
LAGS = 1.0  # times ln(frames): how many lags a clip has
TREND = 25  # frames of a moving average


class Timetoformer(nn.Sequential):
    """[B, samples] -> [B, bands, frames]."""

    def __init__(self, bands: int) -> None:
        super().__init__(Patches(bands), *[Layer(bands) for _ in range(LAYERS)])


class Patches(nn.Sequential):
    """[B, samples] -> [B, bands, frames]: one for each frame of the log-mel, with the level of a batch taken out."""

    def __init__(self, bands: int) -> None:
        super().__init__(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, bands, KERNEL, STEP, bias=False), nn.BatchNorm1d(bands))


class Layer(nn.Module):
    """[B, C, L] -> [B, C, L]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.correlation = AutoCorrelation(width)
        self.body = nn.Sequential(
            nn.Conv1d(width, HIDDEN, 1, bias=False), nn.GELU(), nn.Conv1d(HIDDEN, width, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = without_trend(x + self.correlation(x))
        return without_trend(x + self.body(x))


class AutoCorrelation(nn.Module):
    """[B, C, L] -> [B, C, L]: the sound as it was a few of its own periods later, weighted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.give = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        best, lags = best_lags(circular_correlation(self.query(x), self.key(x)))
        return self.give(delayed_sum(self.value(x), lags, torch.softmax(best, dim=1)))


def circular_correlation(query: Tensor, key: Tensor) -> Tensor:
    """[B, C, L] each -> [B, L]: at lag l the sum over t, and mean over C, of query[(t + l) mod L] key[t].

    Diagonals of the Gram matrix key' query. Written twice side by side, and read with rows longer by one, they stand in
    columns: what irfft(rfft(query) conj(rfft(key))) gives, without a transform and without a table of indices.
    """
    length = query.shape[2]
    gram = key.transpose(1, 2) @ query  # [B, t, t + l]
    twice = functional.pad(torch.cat([gram, gram], dim=2).flatten(1), (0, length))
    diagonals = twice.unflatten(1, (length, 2 * length + 1))[:, :, :length]  # [B, t, l]
    return diagonals.sum(dim=1) / query.shape[1]


def best_lags(correlations: Tensor) -> tuple[Tensor, Tensor]:
    """[B, L] -> the floor(ln L) greatest, and their lags: [B, k] each."""
    count = max(1, math.floor(LAGS * math.log(correlations.shape[1])))
    return correlations.topk(count, dim=1)


def delayed_sum(values: Tensor, lags: Tensor, weights: Tensor) -> Tensor:
    """[B, C, L], [B, k], [B, k] -> [B, C, L]: the sum over k of weight * values[(t + lag) mod L]."""
    channels, length = values.shape[1:]
    at = torch.arange(length, device=values.device) + lags.unsqueeze(2)  # [B, k, L]
    at = torch.where(at < length, at, at - length)
    rolled = values.gather(2, at.flatten(1).unsqueeze(1).expand(-1, channels, -1))
    return (rolled.unflatten(2, (-1, length)) * weights[:, None, :, None]).sum(dim=2)


def without_trend(x: Tensor) -> Tensor:
    """[B, C, L] -> less its moving average, in which the first and the last frame go on."""
    longer = functional.pad(x, (TREND // 2, TREND // 2), mode="replicate")
    return x - functional.avg_pool1d(longer, TREND, 1)
