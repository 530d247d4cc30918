"""The loss, with all that the network leaves behind."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from edge_runtime.features import N_MELS
from train import metric_losses
from train.models import base
from train.models.tdnn.config import Config
from train.models.tdnn.network import WIDTH, Network


class Objective(base.Objective):
    """A sum of the losses of sections, distances and attribute classes; all weigh the same."""

    sections: Tensor  # [classes, sections] 1 where a class is of a section

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.margin, self.triplet = config.margin, config.triplet
        self.attributes = nn.Linear(WIDTH, len(classes)) if config.attributes else None
        self.register_buffer(
            "sections", base.merging([(one.machine_type, one.section) for one in classes]), persistent=False
        )
        self.tuning_epochs = 0 if config.wav2vec is None else config.wav2vec.epochs
        self.tuning = False  # whether wav2vec 2.0 learns, and it alone
        self.speech = nn.Linear(N_MELS, self.sections.shape[1]) if self.tuning_epochs else None

    def start(self, network: nn.Module) -> None:
        """Pretrained weights."""
        assert isinstance(network, Network)
        if network.wav2vec is not None:
            network.wav2vec.load()

    def begin(self, network: nn.Module, epoch: int) -> None:
        """The first epochs are for wav2vec 2.0, the others for all the rest."""
        assert isinstance(network, Network)
        if network.wav2vec is not None:
            self.tuning = epoch < self.tuning_epochs
            network.wav2vec.freeze(not self.tuning)

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        yield torch.stack(list(self.terms(network, batch).values())).sum()

    def terms(self, network: Network, batch: base.Batch) -> dict[str, Tensor]:
        """Each loss by name."""
        sections = batch.labels @ self.sections
        if self.tuning:
            assert network.wav2vec is not None and self.speech is not None
            speech = network.wav2vec(batch.inputs["waveform"]).mean(dim=2)
            return {"speech": metric_losses.cross_entropy(self.speech(speech), sections)}
        outputs = network(**batch.inputs)
        embedding = outputs["embedding"]
        terms = {"sections": metric_losses.cross_entropy(outputs["logits"], sections)}
        if self.triplet:
            terms["triplet"] = metric_losses.batch_hard(embedding, sections.argmax(dim=1), self.margin)
        if self.attributes is not None:
            terms["attributes"] = metric_losses.cross_entropy(self.attributes(embedding), batch.labels)
        return terms
