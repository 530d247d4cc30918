"""DyGCN: classes as nodes of two graphs, one for all clips and one of each clip (ADD-GCN: Ye et al., ECCV 2020)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2  # of a LeakyReLU


class DyGcn(nn.Module):
    """[B, maps, H, W] -> logits [B, C], each of its own node."""

    def __init__(self, maps: int, classes: int, width: int = 128) -> None:
        super().__init__()
        self.mask, self.project = nn.Conv2d(maps, classes, 1), nn.Conv2d(maps, width, 1)
        self.shared = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, classes)))  # M_s
        self.static = nn.Linear(width, width, bias=False)  # W_s
        self.summary = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.LeakyReLU(SLOPE))
        self.edges = nn.Linear(2 * width, classes)  # W_A
        self.dynamic = nn.Linear(width, width, bias=False)  # W_d
        self.readout = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, width)))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, maps: Tensor) -> Tensor:
        nodes = self.nodes(maps)
        static = nodes + functional.leaky_relu(self.static(self.shared @ nodes), SLOPE)
        dynamic = functional.leaky_relu(self.dynamic(self.graph(static) @ static), SLOPE)
        return ((nodes + dynamic) * self.readout).sum(dim=2) + self.bias

    def nodes(self, maps: Tensor) -> Tensor:
        """[B, maps, H, W] -> [B, C, d]: the pixels that each class looks at; a mean, the same for any length."""
        masks, pixels = torch.sigmoid(self.mask(maps)).flatten(2), self.project(maps).flatten(2)
        return masks @ pixels.transpose(1, 2) / pixels.shape[2]

    def graph(self, static: Tensor) -> Tensor:
        """[B, C, d] -> [B, C, C] between 0 and 1: how much of each node every node takes in this clip."""
        summary = self.summary(static.mean(dim=1)).unsqueeze(1).expand_as(static)
        return torch.sigmoid(self.edges(torch.cat([summary, static], dim=2)))
