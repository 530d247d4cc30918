"""The loss, with all that the network leaves behind."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime.features import N_MELS
from train import metric_losses
from train.models import base
from train.models.tranself.config import Config
from train.models.tranself.decoder import Decoder
from train.models.tranself.dygcn import DyGcn
from train.models.tranself.filter_augment import filter_augment
from train.models.tranself.network import WIDTH, Network
from train.models.tranself.token_transformer import MAPS

CLASSIFIER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "poly": metric_losses.poly,
    "cross_entropy": metric_losses.cross_entropy,
    "focal": metric_losses.focal,
}


class Objective(base.Objective):
    """A sum of the losses of classifier, ArcFace, graph, decoder and CORAL; all weigh the same."""

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.augmented, self.classifier_loss = config.dan, CLASSIFIER[config.classifier_loss]
        frames = config.crop_frames or config.window_frames
        self.arcface = metric_losses.ArcFace(WIDTH, len(classes)) if config.arcface else None
        self.graph = DyGcn(MAPS, len(classes)) if config.dygcn else None
        self.decoder = Decoder(WIDTH, N_MELS, frames) if config.autoencoder else None

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        yield torch.stack(list(self.terms(network, batch).values())).sum()

    def terms(self, network: Network, batch: base.Batch) -> dict[str, Tensor]:
        """Each loss by name. A clip and its pair have one machine ID: both are classified and both are decoded."""
        paired = self.augmented and batch.pair is not None
        inputs, labels = _with_pairs(batch) if paired else (batch.inputs, batch.labels)
        log_mel = filter_augment(inputs["log_mel"]) if self.augmented else inputs["log_mel"]
        normalised = network.normalised(log_mel)
        maps = network.maps(normalised, inputs["waveform"])
        embedding = network.embed(maps)
        terms = {"classifier": self.classifier_loss(network.classifier(embedding), labels)}
        if self.arcface is not None:
            terms["arcface"] = self.arcface(embedding, labels)
        if self.graph is not None:
            logits = self.graph(maps)
            terms["dygcn"] = functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(labels)
        if self.decoder is not None:
            terms["autoencoder"] = functional.mse_loss(self.decoder(embedding), normalised)
        if paired:
            terms["coral"] = metric_losses.coral(*embedding.chunk(2))
        return terms


def _with_pairs(batch: base.Batch) -> tuple[dict[str, Tensor], Tensor]:
    """The clips and, behind them, their pairs."""
    assert batch.pair is not None
    inputs = {name: torch.cat([array, batch.pair[name]]) for name, array in batch.inputs.items()}
    return inputs, batch.labels.repeat(2, 1)
