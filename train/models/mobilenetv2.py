"""The official DCASE 2021 and 2022 classifier of sections: MobileNetV2, half as wide, one for each machine type.

    log_mel [B, frames, 128] dB -> sub-windows of 64 frames, one every 8 [B, S, 64, 128] -> logits [B, S, classes]

311 frames give 31 sub-windows. The score of each is the log of the odds against its machine's section, ln((1 - p) / p),
and a window's the mean of theirs. (The official scripts of 2021, and those that fit the threshold in 2022, take the
logarithm of 1 - p - ln p, a misplaced parenthesis.) The official test hears a sub-window at every frame, at eight times
the cost: `segment_hop_frames: 1`.

The embedding is the mean of what the classifier sees over the sub-windows [B, 1280]: one vector a window, as every
other system has it, and a thirtieth of the memory in references and reports.

Strided layers are padded on both sides; at even sizes, as those of 64 x 128 all are, only the zeros on the left are
used, in Keras only those on the right: the mirror image, which learns the same.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional

from calib.clips import Clip
from edge_runtime.features import LogMel, Spec
from edge_runtime.scoring import Probability, Scoring
from train.models import base
from train.models.blocks import InvertedResidual, convolution, glorot

STEM, MAPS = 16, 1280  # channels of the first and of the last map; the width of 0.5 is not for the last
# expansion, channels at a width of 0.5 (rounded to multiples of 8), blocks, stride of the first
PLAN = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
COPIES = 3  # of the spectrogram, where the network for images has its colours
EPSILON = 1e-3  # of batch norms, Keras' for this network
MOMENTUM = (
    0.01  # of their statistics: a mean over 100 steps; Keras' 0.001 is one over 1000, of which few clips have none
)

Frames = Annotated[int, Meta(ge=1)]


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="mobilenetv2"):
    """The system's own settings."""

    segment_frames: Annotated[int, Meta(ge=5)] = 64  # of a sub-window; a shorter window is one itself
    segment_hop_frames: Frames = 8  # between sub-windows that listen
    learned_hop_frames: Frames = 8  # between sub-windows that are trained on
    step_segments: Annotated[int, Meta(ge=2)] = 32  # behind one gradient step, drawn from all clips of a batch
    scoring: Scoring = Probability(form="odds")

    one_machine_type: ClassVar[bool] = True
    class_by: ClassVar[tuple[str, ...]] = ("machine_type", "section")

    def inputs(self) -> dict[str, Spec]:
        return {"log_mel": LogMel()}

    def missing(self, clips: Sequence[Clip]) -> str:
        sections: dict[str, set[str]] = defaultdict(set)
        for clip in clips:
            sections[clip.machine_type].add(clip.section)
        for machine_type, found in sorted(sections.items()):
            if len(found) < 2:
                return f"two sections or more of {machine_type}, and here is only {found.pop() or 'one without a name'}"
        return ""


class Network(nn.Module):
    """What listens to all sub-windows of a window."""

    places: Tensor  # [S length] frames of the sub-windows that listen

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int = 0) -> None:
        super().__init__()
        frames = shapes["log_mel"][0]
        self.length = min(config.segment_frames, frames)
        self.register_buffer("places", places(frames, self.length, config.segment_hop_frames), persistent=False)
        self.body = nn.Sequential(*_layers(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(MAPS, classes)
        self.apply(glorot)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPSILON

    def forward(self, log_mel: Tensor) -> dict[str, Tensor]:
        """[B, frames, n_mels] dB -> logits [B, S, classes], embedding [B, 1280]."""
        segments = cut(log_mel, self.places, self.length)
        count = len(self.places) // self.length
        embeddings = self.embed(segments)
        logits = self.classifier(embeddings).unflatten(0, (-1, count))
        return {"logits": logits, "embedding": embeddings.unflatten(0, (-1, count)).mean(dim=1)}

    def embed(self, segments: Tensor) -> Tensor:
        """[n, length, n_mels] dB -> [n, 1280]."""
        image = segments.unsqueeze(1)
        embeddings: Tensor = self.body(torch.cat([image] * COPIES, dim=1))
        return embeddings

    def remember(self) -> None:
        """Before a step: statistics are the plain mean of the first steps', with nothing of where they began."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        steps = norms[0].num_batches_tracked
        assert steps is not None
        for norm in norms:
            norm.momentum = max(MOMENTUM, 1.0 / (1.0 + float(steps)))


class Objective(base.Objective):
    """Softmax cross-entropy of single sub-windows."""

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.segments, self.hop = config.step_segments, config.learned_hop_frames

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """All sub-windows of all clips, shuffled, some for each step."""
        assert isinstance(network, Network)
        log_mel = batch.inputs["log_mel"]
        chosen = places(log_mel.shape[1], network.length, self.hop).to(log_mel.device)
        segments = cut(log_mel, chosen, network.length).unflatten(0, (len(log_mel), -1))
        for clip, at, count in batch.dealt(segments.shape[1], self.segments):
            network.remember()
            logits = network.classifier(network.embed(segments[clip, at]))
            yield functional.cross_entropy(logits, batch.labels[clip], reduction="sum") / count


def places(frames: int, length: int, hop: int) -> Tensor:
    """[S length]: the frames of every sub-window of a window, one sub-window after another."""
    starts = torch.arange(0, frames - length + 1, hop)
    return (starts[:, None] + torch.arange(length)).flatten()


def cut(log_mel: Tensor, chosen: Tensor, length: int) -> Tensor:
    """[B, frames, n_mels], [S length] -> sub-windows [B S, length, n_mels]; one Gather of constant places."""
    return log_mel.index_select(1, chosen).reshape(-1, length, log_mel.shape[2])


def _layers() -> list[nn.Module]:
    """[n, 3, H, W] -> [n, 1280, H / 32, W / 32]."""
    layers = convolution(COPIES, STEM, 3, 2, activation=_relu6)
    channels = STEM
    for expansion, width, blocks, stride in PLAN:
        widths = [channels, *[width] * blocks]
        strides = [stride, *[1] * (blocks - 1)]
        layers += [
            InvertedResidual(*pair, step, expansion, _relu6)
            for pair, step in zip(pairwise(widths), strides, strict=True)
        ]
        channels = width
    return layers + convolution(channels, MAPS, 1, activation=_relu6)


def _relu6(_: int) -> nn.Module:
    return nn.ReLU6()
