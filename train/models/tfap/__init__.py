"""Paper 1: a residual network over time and frequency, pooled over time by attention (Chen et al.).

    log_mel [B, frames, 128] dB   batch norm of each band
    Conv1, Res1                   7x7 and two residual blocks, 16 channels   -> [B, 16, frames, 128]
    Trans1, Res2 ... Res4         3x3 that halves the bands, two blocks      -> 32, 64, 128 channels; 64, 32, 16 bands
    Trans4                        3x3                                        -> [B, 128, frames, 8]
    TF-AP                         first and second order, two heads          -> [B, 4096]
    embedding [B, 128]            linear, of unit length

The paper never strides time: 1.57 M parameters with 75 classes, 6.5 G multiply-accumulates for 311 frames.
`time_strides` makes a variant that the paper does not have, within the budget of a small computer.

Trained to tell apart the attributes of source clips. Mixup pairs clips of one machine type, at the input or at a hidden
layer. Target clips have no part in the training: their mean embedding is one more centre (centre imprinting), with
`train/imprint.py` after some more training.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional

from calib.clips import Clip
from edge_runtime.features import LogMel, Spec
from train.mixup import Mixup, draw_partners, draw_share, mix
from train.models import base
from train.models.tfap.backbone import Backbone
from train.models.tfap.pooling import Cosines, Orders, Pooling, TimePooling

WIDTH = 128  # dimensions of the embedding
LEVEL, SPREAD = -50.0, 15.0  # dB: of sounds of machines, roughly; where the mean and deviation of the bands begin
ALPHA = {"input": 1.0, "manifold": 1.5}  # of the Beta distribution that shares are drawn from
Stride = Annotated[int, Meta(ge=1, le=4)]


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="tfap"):
    """The system's own settings; the switches are those of the paper's ablations."""

    pooling: Pooling = "attention"
    orders: Orders = "both"  # moments over time; "max" has the first alone
    heads: Annotated[int, Meta(ge=1)] = 2  # of the attention
    mixup: Mixup = "in_type"  # whom a clip is mixed with
    mixup_at: Literal["input", "manifold"] = "manifold"  # manifold: at the input or behind Res1 to Res4, drawn anew
    mixup_alpha: Annotated[float, Meta(gt=0)] | None = None  # of Beta(a, a); None: 1.0 at the input, 1.5 else
    scale: Annotated[float, Meta(gt=0)] = 30.0  # of the cosines under the softmax
    time_strides: tuple[Stride, Stride, Stride, Stride, Stride] = (1, 1, 1, 1, 1)  # frames: of Conv1, Trans1 to Trans4

    source_only: ClassVar[bool] = True
    class_by: ClassVar[tuple[str, ...]] = ("machine_type", "section", "attributes")
    any_length: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.pooling == "max" and self.orders != "first":
            raise ValueError("pooling: max has no second order; set orders: first")

    def inputs(self) -> dict[str, Spec]:
        return {"log_mel": LogMel()}

    def missing(self, clips: Sequence[Clip]) -> str:
        """Telling apart needs two classes."""
        found = {tuple(getattr(clip, name) for name in self.class_by) for clip in clips if clip.domain != "target"}
        if len(found) > 1:
            return ""
        return f"two classes of source clips, by machine type, section and attributes: there is {len(found) or 'none'}"


class Network(nn.Module):
    """What listens; the logits belong to the classes of the training."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int = 0) -> None:
        super().__init__()
        bands = shapes["log_mel"][1]
        self.norm = _level_norm(bands)
        self.backbone = Backbone(bands, config.time_strides)
        self.pooling = TimePooling(self.backbone.channels, config.pooling, config.heads, config.orders)
        self.embed = nn.Linear(self.backbone.bands * self.pooling.width, WIDTH)
        nn.init.normal_(self.embed.weight, std=(self.backbone.bands * self.pooling.orders) ** -0.5)  # f of variance 1
        self.classify = Cosines(WIDTH, classes, config.scale)

    def forward(self, log_mel: Tensor) -> dict[str, Tensor]:
        """[B, frames, n_mels] dB -> embedding [B, 128] of unit length, logits [B, classes]."""
        x = self.normed(log_mel)
        for stage in self.backbone:
            x = stage(x)
        return self.pooled(x)

    def mixed(self, log_mel: Tensor, at: int, partner: Tensor, share: float) -> dict[str, Tensor]:
        """As forward, with the rows mixed at the input (`at` 0) or behind Res1 to Res4 (1 to 4)."""
        x = self.normed(mix(log_mel, partner, share) if at == 0 else log_mel)
        for place, stage in enumerate(self.backbone, start=1):
            x = stage(x)
            if place == at:
                x = mix(x, partner, share)
        return self.pooled(x)

    def normed(self, log_mel: Tensor) -> Tensor:
        """[B, frames, n_mels] dB -> [B, 1, frames, n_mels]: bands of mean 0 and variance 1 over the training."""
        return self.norm(log_mel.transpose(1, 2)).transpose(1, 2).unsqueeze(1)

    def pooled(self, x: Tensor) -> dict[str, Tensor]:
        """[B, 128, frames, 8] -> embedding and logits."""
        embedding = functional.normalize(self.embed(self.pooling(x)).float(), dim=1)
        return {"embedding": embedding, "logits": self.classify(embedding)}


def _level_norm(bands: int) -> nn.BatchNorm1d:
    """Batch norm of levels in dB: from a mean of 0 the running one would need a hundred steps to be near."""
    norm = nn.BatchNorm1d(bands)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.fill_(LEVEL)
    norm.running_var.fill_(SPREAD**2)
    return norm


class Objective(base.Objective):
    """Softmax cross-entropy of mixed clips."""

    types: Tensor  # [classes] number of the machine type

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.config = config
        known = sorted({one.machine_type for one in classes})
        numbers = torch.tensor([known.index(one.machine_type) for one in classes])
        self.register_buffer("types", numbers, persistent=False)

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        yield self.loss(network, batch)

    def loss(self, network: Network, batch: base.Batch) -> Tensor:
        """One place and one share for a batch, one partner for each row; labels are mixed as the sounds are."""
        log_mel, labels = batch.inputs["log_mel"], batch.labels
        if self.config.mixup == "none":
            return functional.cross_entropy(network(log_mel)["logits"], labels)
        partner = draw_partners(self.types[labels.argmax(dim=1)], self.config.mixup)
        alpha = self.config.mixup_alpha or ALPHA[self.config.mixup_at]
        share = draw_share(alpha)
        at = int(torch.randint(len(network.backbone), ())) if self.config.mixup_at == "manifold" else 0
        outputs = network.mixed(log_mel, at, partner, share)
        return functional.cross_entropy(outputs["logits"], mix(labels, partner, share))
