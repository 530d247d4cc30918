"""STgram-MFN: log-mel and a learned spectrogram, side by side, under a MobileFaceNet (Liu et al., ICASSP 2022).

    log_mel [B, frames, 128] dB                                  } two channels [B, 2, 128, frames]
    waveform [B, samples]       TgramNet -> [B, 128, frames]     }
    MobileFaceNet (Chen et al. 2018)                             -> [B, 512, 8, 20] at 311 frames
    global depthwise convolution of that size, linear            -> embedding [B, 128]
    ArcFace's directions, without margin                         -> logits [B, classes]: scaled cosines

One network for all machines tells their IDs apart; the score is -ln of the softmax of the true ID. The released program
adds ArcFace's margin to the presumed ID when it tests, too; here, as in ArcFace's paper, it belongs to the training
alone. The released network also has a linear classifier that ArcFace leaves unused: here it is there only without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from msgspec import Meta
from torch import Tensor, nn

from calib.clips import Clip
from edge_runtime.features import LogMel, Spec, Waveform
from edge_runtime.scoring import Probability, Scoring
from train.metric_losses import ArcFace, cross_entropy
from train.models import base
from train.models.blocks import InvertedResidual, convolution
from train.models.tgramnet import TgramNet

STEM, MAPS, WIDTH = 64, 512, 128  # channels of the first and of the last map; dimensions of the embedding
# expansion, channels, blocks, stride of the first
PLAN = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="stgram_mfn"):
    """The system's own settings."""

    arcface: bool = True  # off: a linear classifier under plain cross-entropy
    margin: Annotated[float, Meta(ge=0.0, lt=3.14)] = 0.7  # rad, of ArcFace
    scale: Annotated[float, Meta(gt=0.0)] = 30.0  # times the cosines, of ArcFace
    scoring: Scoring = Probability()

    class_by: ClassVar[tuple[str, ...]] = ("machine_type", "section")

    def inputs(self) -> dict[str, Spec]:
        return {"log_mel": LogMel(), "waveform": Waveform()}

    def missing(self, clips: Sequence[Clip]) -> str:
        machines = {clip.machine for clip in clips}
        return "" if len(machines) > 1 else f"two machine IDs or more, and here is only {', '.join(machines) or 'none'}"


class MobileFaceNet(nn.Sequential):
    """[B, 2, bands, frames] -> [B, 128]; of one size, which its global depthwise convolution has in the end."""

    def __init__(self, bands: int, frames: int) -> None:
        layers = convolution(2, STEM, 3, 2, activation=nn.PReLU)
        layers += convolution(STEM, STEM, 3, groups=STEM, activation=nn.PReLU)
        channels, rows, columns = STEM, -(-bands // 2), -(-frames // 2)
        for expansion, width, blocks, stride in PLAN:
            for at in range(blocks):
                layers.append(InvertedResidual(channels, width, stride if at == 0 else 1, expansion, nn.PReLU))
                channels = width
            rows, columns = -(-rows // stride), -(-columns // stride)
        layers += convolution(channels, MAPS, 1, activation=nn.PReLU)
        layers += [nn.Conv2d(MAPS, MAPS, (rows, columns), groups=MAPS, bias=False), nn.BatchNorm2d(MAPS)]
        layers += [*convolution(MAPS, WIDTH, 1)[:2], nn.Flatten()]
        super().__init__(*layers)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")


class Network(nn.Module):
    """What listens; the logits belong to the machine IDs of the training."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int = 0) -> None:
        super().__init__()
        frames, bands = shapes["log_mel"]
        self.tgram = TgramNet(frames)
        self.body = MobileFaceNet(bands, frames)
        self.classifier = ArcFace(WIDTH, classes, config.margin, config.scale) if config.arcface else None
        self.linear = None if config.arcface else nn.Linear(WIDTH, classes)

    def forward(self, log_mel: Tensor, waveform: Tensor) -> dict[str, Tensor]:
        """[B, frames, bands] dB, [B, samples] -> embedding [B, 128], logits [B, classes]."""
        maps = torch.stack([log_mel.transpose(1, 2), self.tgram(waveform)], dim=1)
        embedding = self.body(maps)
        head = self.classifier.without_margin if self.classifier is not None else self.linear
        assert head is not None
        return {"embedding": embedding, "logits": head(embedding)}


class Objective(base.Objective):
    """ArcFace, whose directions the network keeps; without it cross-entropy."""

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        outputs = network(**batch.inputs)
        if network.classifier is None:
            yield cross_entropy(outputs["logits"], batch.labels)
        else:
            yield network.classifier(outputs["embedding"], batch.labels)
