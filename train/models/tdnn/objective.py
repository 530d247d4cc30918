"""The loss, with all that the network leaves behind."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

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
        self.register_buffer("sections", _sections(classes), persistent=False)

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        yield torch.stack(list(self.terms(network, batch).values())).sum()

    def terms(self, network: Network, batch: base.Batch) -> dict[str, Tensor]:
        """Each loss by name."""
        outputs, sections = network(**batch.inputs), batch.labels @ self.sections
        embedding = outputs["embedding"]
        terms = {"sections": metric_losses.cross_entropy(outputs["logits"], sections)}
        if self.triplet:
            terms["triplet"] = metric_losses.batch_hard(embedding, sections.argmax(dim=1), self.margin)
        if self.attributes is not None:
            terms["attributes"] = metric_losses.cross_entropy(self.attributes(embedding), batch.labels)
        return terms


def _sections(classes: Sequence[base.SoundClass]) -> Tensor:
    """[classes, sections], the sections in the order that `train/data.merged` has them in."""
    of_class = [(one.machine_type, one.section) for one in classes]
    known = sorted(set(of_class))
    return torch.eye(len(known))[[known.index(one) for one in of_class]]
