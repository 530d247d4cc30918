"""The autoencoder of a segment's features: 512 -> 256 -> 64 latents -> 256 -> 512."""

import torch
from torch import Tensor, nn

from train.models.oevae.resnet import WIDTH

HIDDEN, LATENTS = 256, 64
DOMAIN = 8  # latents, the first, that carry the conditions


class Encoder(nn.Sequential):
    """[..., 512] -> [..., 256]; `mean` makes the latents' means [..., 64] of that."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, HIDDEN), nn.ReLU())
        self.mean = nn.Linear(HIDDEN, LATENTS)

    def forward(self, features: Tensor) -> Tensor:
        return self[1](self[0](features))


class Decoder(nn.Sequential):
    """[..., 64] -> [..., 512]."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))


def drawn(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Latents from N(mean, variance), with a gradient for both (Kingma and Welling 2014)."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def divergence(mean: Tensor, log_variance: Tensor, conditions: Tensor) -> Tensor:
    """[B, cuts, 64] twice, [B] k v -> [B, cuts]: KL of the first 8 latents to N(k v, 1), of the others to N(0, 1).

    Paper 3, L_1: 0.5 (s^2 + (mean - a)^2 - 1 - ln s^2), summed over the latents.
    """
    centred = torch.cat([mean[..., :DOMAIN] - conditions[:, None, None], mean[..., DOMAIN:]], dim=-1)
    return 0.5 * (log_variance.exp() + centred.square() - 1.0 - log_variance).sum(dim=-1)
