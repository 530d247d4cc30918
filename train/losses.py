"""Losses over embeddings."""

import math

import torch
from torch import Tensor, nn

from train.metric_losses import unit_products
from train.parallel import everyones

LARGEST_ANGLE = math.pi / 4  # the angle that scales are computed at


def soft_cross_entropy(probabilities: Tensor, labels: Tensor) -> Tensor:
    """[B, C] each -> mean over the batch of -sum_c y_c ln p_c; rows of labels sum to 1."""
    return -(labels * probabilities.clamp_min(1e-7).log()).sum(dim=1).mean()


class SubClusterAdaCos(nn.Module):
    """SCAdaCos: each class is a mixture of K directions, and the scale adapts itself (Wilkinghoff, IJCNN 2021).

    Trainable or not, the centres begin as Glorot-uniform draws.
    """

    scale: Tensor

    def __init__(self, dimensions: int, classes: int, sub_clusters: int = 16, trainable: bool = True) -> None:
        super().__init__()
        self.classes, self.sub_clusters = classes, sub_clusters
        centres = nn.init.xavier_uniform_(torch.empty(classes * sub_clusters, dimensions))
        self.centres = nn.Parameter(centres, requires_grad=trainable)
        self.register_buffer("scale", torch.tensor(math.sqrt(2.0) * math.log(classes * sub_clusters - 1)))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """[B, D], [B, C] -> loss; a training step moves the scale first."""
        cosines = self.cosines(embeddings)
        if self.training:
            self.scale.copy_(adapted_scale(cosines.detach(), self.scale))
        return soft_cross_entropy(self.probabilities(cosines), labels)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """[B, D] -> [B, C K] cosines of the angles to every centre."""
        return unit_products(embeddings, self.centres)

    def probabilities(self, cosines: Tensor) -> Tensor:
        """[B, C K] -> [B, C]: a softmax over all centres, summed over those of a class."""
        shares = torch.softmax(self.scale * cosines, dim=1)
        return shares.unflatten(1, (self.classes, self.sub_clusters)).sum(dim=2)


def adapted_scale(cosines: Tensor, scale: Tensor) -> Tensor:
    """[B, C K], [] -> [] the next scale: ln(mean over the batch of sum exp(s cos)) / cos(pi / 4).

    The original divides by cos(min(pi / 4, median angle)); summed over the sub-clusters, that angle is always the
    larger one. The batch is that of all processes.
    """
    total = torch.logsumexp(scale * cosines, dim=(0, 1))
    rows = total.new_tensor(float(len(cosines)))
    totals, counts = everyones(torch.stack([total, rows])).T
    return (torch.logsumexp(totals, dim=0) - counts.sum().log()) / math.cos(LARGEST_ANGLE)
