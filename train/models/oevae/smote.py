"""SMOTE (Chawla et al. 2002) of the few clips of the target domain: x + u (x' - x), x' one of x's three neighbours.

Made of standardised log-mels and for the autoencoder alone: embeddings of clips heard batches ago would teach ResNet-18
nothing. A batch holds few clips of the target domain or none, so the last window of each is kept, up to 32 clips; 18 MB
at the default window. Of several processes each keeps those that it hears, and a checkpoint has the first one's. What
is made has the labels, and so the conditions, of both, mixed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edge_runtime import features
from train.models import base
from train.models.oevae.config import MEL, Config

KEPT, NEIGHBOURS = 32, 3  # clips
WHOLE = 1.0 - 1e-4  # share of a kind from which on a clip is wholly of it: float32 sums of two shares


class Rows(NamedTuple):
    """Clips as the autoencoder is taught by them."""

    log_mel: Tensor  # [B, frames, bands], standardised
    labels: Tensor  # [B, classes]
    power: Tensor  # [B] k v of the mean power


def of_type(config: Config, classes: Sequence[base.SoundClass]) -> list[bool]:
    """Of each class: whether it is of the machine type that is listened to."""
    return [one.machine_type == config.machine_type or not config.machine_type for one in classes]


class Smote(nn.Module):
    """What is kept of the target domain, and what is made of it."""

    clips: Tensor  # [kept] number of the clip, -1: none yet
    at: Tensor  # [] place of the next new clip
    log_mel: Tensor  # [kept, frames, bands]
    labels: Tensor  # [kept, classes]
    power: Tensor  # [kept]
    of_domain: Tensor  # [2, classes] 1: of the machine type, in the source (or no) domain, in the target domain

    def __init__(self, config: Config, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.share = config.smote
        frames, bands = features.shape(MEL, config.window)
        target = [one.domain == "target" for one in classes]
        own = zip(of_type(config, classes), target, strict=True)
        domains = torch.tensor([[ours and not far, ours and far] for ours, far in own], dtype=torch.float32).T
        self.register_buffer("of_domain", domains.contiguous())
        kept = KEPT if bool(domains[1].any()) else 0
        self.register_buffer("clips", torch.full((kept,), -1))
        self.register_buffer("at", torch.tensor(0))
        self.register_buffer("log_mel", torch.zeros(kept, frames, bands))
        self.register_buffer("labels", torch.zeros(kept, len(classes)))
        self.register_buffer("power", torch.zeros(kept))

    def forward(self, rows: Rows, clips: Tensor) -> Rows:
        """Rows and behind them as many made ones as the target domain lacks to `share` of the source domain."""
        if not len(self.clips):
            return rows
        source, target = (rows.labels @ domain for domain in self.of_domain)
        heard = torch.nonzero(target > WHOLE).flatten().tolist()
        self.keep(rows, clips, heard)
        lacking = round(self.share * int((source > WHOLE).sum())) - len(heard)
        made = self.made(lacking)
        return rows if made is None else Rows(*[torch.cat(both) for both in zip(rows, made, strict=True)])

    def keep(self, rows: Rows, clips: Tensor, places: Sequence[int]) -> None:
        """The rows at these places, each instead of the same clip's last or of the oldest."""
        for place in places:
            known = torch.nonzero(self.clips == clips[place]).flatten().tolist()
            slot = known[0] if known else int(self.at) % len(self.clips)
            if not known:
                self.at += 1
            self.clips[slot] = clips[place]
            for mine, theirs in zip((self.log_mel, self.labels, self.power), rows, strict=True):
                mine[slot] = theirs[place].detach()

    def made(self, count: int) -> Rows | None:
        """New clips between kept ones and their neighbours; None where none is asked or fewer than two are kept."""
        known = min(int(self.at), len(self.clips))
        if count < 1 or known < 2:
            return None
        kept = self.log_mel[:known].flatten(1)
        distances = torch.cdist(kept, kept).fill_diagonal_(torch.inf)
        near = distances.topk(min(NEIGHBOURS, known - 1), largest=False).indices  # [known, neighbours]
        ours = torch.randint(known, (count,), device=kept.device)
        theirs = near[ours, torch.randint(near.shape[1], (count,), device=kept.device)]
        share = torch.rand(count, device=kept.device)
        return Rows(*[_between(array, ours, theirs, share) for array in (self.log_mel, self.labels, self.power)])


def _between(array: Tensor, ours: Tensor, theirs: Tensor, share: Tensor) -> Tensor:
    weight = share.reshape(-1, *[1] * (array.ndim - 1))
    return array[ours] + weight * (array[theirs] - array[ours])
