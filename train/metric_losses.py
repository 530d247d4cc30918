"""Losses over classes and over the conditions of a machine; labels are rows [B, classes] that sum to 1."""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional


class ArcFace(nn.Module):
    """Softmax over angles to one direction a class, with a margin on the true one (Deng et al., CVPR 2019).

    A margin of 0.7 rad and a scale of 30 are those of Liu et al. (ICASSP 2022).
    """

    def __init__(self, dimensions: int, classes: int, margin: float = 0.7, scale: float = 30.0) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale  # rad; times the cosines
        self.directions = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dimensions)))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """[B, D], [B, C] -> loss."""
        return cross_entropy(self.logits(embeddings, labels), labels)

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """[B, D], [B, C] -> [B, C]: scale * cos(angle + margin) where the label is 1, scale * cos(angle) elsewhere."""
        cosines = self.cosines(embeddings)
        return self.scale * torch.lerp(cosines, with_margin(cosines, self.margin), labels)

    def without_margin(self, embeddings: Tensor) -> Tensor:
        """[B, D] -> [B, C]: scale * cos(angle), what a test takes."""
        return self.scale * self.cosines(embeddings)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """[B, D] -> [B, C] of the angles to every direction."""
        return unit_products(embeddings, self.directions)


def unit_products(rows: Tensor, directions: Tensor) -> Tensor:
    """[B, D], [C, D] -> [B, C] cosines, in float32 whatever the precision: a scale of 30 makes much of an error."""
    device = rows.device.type
    mixed = device != "meta" and torch.is_autocast_enabled(device)  # meta: shapes alone
    with torch.autocast(device, enabled=False) if mixed else nullcontext():
        return functional.normalize(rows.to(directions.dtype), dim=1) @ functional.normalize(directions, dim=1).T


def with_margin(cosines: Tensor, margin: float) -> Tensor:
    """cos(a) -> cos(a + margin); where that would rise again (a > pi - margin), cos(a) - margin sin(margin)."""
    sines = (1.0 - cosines.square()).clamp_min(1e-6).sqrt()  # the root's slope stays below 1000
    moved = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), moved, cosines - margin * math.sin(margin))


def coral(source: Tensor, target: Tensor) -> Tensor:
    """[n, D], [m, D] -> distance of the covariances, |C - C'|^2 / (4 D^2) (Sun and Saenko, ECCV workshops 2016)."""
    return (covariance(source) - covariance(target)).square().sum() / (4 * source.shape[1] ** 2)


def covariance(rows: Tensor) -> Tensor:
    """[n, D] -> [D, D], unbiased; n of 2 or more."""
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / (len(rows) - 1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """[B, C] each -> mean over the batch of -sum_c y_c ln p_c."""
    return -(labels * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def poly(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> Tensor:
    """[B, C] each -> cross-entropy + epsilon (1 - p_y): Poly-1 (Leng et al., ICLR 2022)."""
    true = (labels * torch.softmax(logits, dim=1)).sum(dim=1)
    return cross_entropy(logits, labels) + epsilon * (1.0 - true).mean()


def focal(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """[B, C] each -> mean of -alpha sum_c y_c (1 - p_c)^gamma ln p_c (Lin et al., ICCV 2017)."""
    log = torch.log_softmax(logits, dim=1)
    return -alpha * (labels * (1.0 - log.exp()) ** gamma * log).sum(dim=1).mean()


def batch_hard(embeddings: Tensor, labels: Tensor, margin: float | None) -> Tensor:
    """[B, D], [B] numbers -> mean over anchors of [margin + farthest of its class - nearest of another]_+.

    Euclidean distances; without a margin softplus takes the place of the hinge (Hermans et al. 2017, eq. 5 and section
    3.2). Clips without another of their class, or of another class, are no anchors; 0 where there are none.
    """
    distances = torch.cdist(embeddings.float(), embeddings.float(), compute_mode="donot_use_mm_for_euclid_dist")
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    gaps = distances.masked_fill(~same, -torch.inf).amax(1) - distances.masked_fill(same, torch.inf).amin(1)
    gaps = gaps[(same.sum(dim=1) > 1) & ~same.all(dim=1)]
    losses = functional.softplus(gaps) if margin is None else (margin + gaps).clamp_min(0.0)
    return losses.sum() / max(1, len(losses))
