"""The losses of both networks, with all that they leave behind."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.losses import SubClusterAdaCos
from train.models import base
from train.models.oevae import conditions, segments
from train.models.oevae.config import Config
from train.models.oevae.network import Network, Segments
from train.models.oevae.resnet import WIDTH
from train.models.oevae.smote import WHOLE, Rows, Smote, of_type
from train.models.oevae.vae import HIDDEN, LATENTS, Decoder, divergence, drawn


class ClassCentres(nn.Module):
    """SCAdaCos over type, ID and attributes: classes that differ in their domain alone are one."""

    merging: Tensor  # [classes, merged]

    def __init__(self, config: Config, dimensions: int, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.register_buffer("merging", base.merging([(one.machine, one.attributes) for one in classes]))
        trainable = not config.frozen_centres
        self.head = SubClusterAdaCos(dimensions, self.merging.shape[1], config.sub_clusters, trainable)

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """[B, D], [B, classes] -> loss."""
        return self.head(embedding, labels @ self.merging)


class Heads(nn.Module):
    """What OEVAE needs in training alone: the outliers' head, the latents' variances, the decoder."""

    of_type: Tensor  # [classes] 1: of the machine type that is listened to
    codes: Tensor  # [classes, attributes] k v; no attributes: the mean power is taken

    def __init__(self, config: Config, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.config = config
        own = of_type(config, classes)
        self.register_buffer("of_type", torch.tensor(own, dtype=torch.float32))
        words = [one.attributes for one, ours in zip(classes, own, strict=True) if ours]
        found = conditions.coded(words if config.attributes else [])
        self.register_buffer("codes", torch.zeros(len(classes), found.shape[1]))
        self.codes[torch.tensor(own)] = found if found.shape[1] else torch.zeros(sum(own), 0)
        self.outliers = nn.Linear(WIDTH, 1) if config.outlier_exposure else None
        self.log_variance = nn.Linear(HIDDEN, LATENTS)
        self.decoder = Decoder()

    def conditions(self, rows: Rows) -> Tensor:
        """k v [B] of one attribute of each clip, drawn; mixed as the labels are."""
        if not self.codes.shape[1]:
            return rows.power
        drawn_at = torch.randint(self.codes.shape[1], (len(rows.labels), 1), device=rows.labels.device)
        return (rows.labels @ self.codes).gather(1, drawn_at).squeeze(1)

    def forward(self, vae: Segments, rows: Rows) -> dict[str, Tensor]:
        """The losses by name: the autoencoder's of clips wholly of the type, the outliers' of all."""
        features, target = vae(rows.log_mel), rows.labels @ self.of_type
        hidden = vae.encoder(features)
        mean, log_variance = vae.encoder.mean(hidden), self.log_variance(hidden)
        missed = (features - self.decoder(drawn(mean, log_variance))).square().sum(dim=-1)
        whole = (target > WHOLE).float()
        terms = {
            "divergence": _over(divergence(mean, log_variance, self.conditions(rows)), whole),
            "reconstruction": _over(missed, whole),
        }
        terms = {name: self.config.vae_weight * value for name, value in terms.items()}
        if self.outliers is not None:
            logits = self.outliers(features).squeeze(-1)
            wanted = target[:, None].expand_as(logits)
            terms["outliers"] = functional.binary_cross_entropy_with_logits(logits, wanted)
        return terms


class Objective(base.Objective):
    """A sum: the two networks have no weights in common."""

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.classifier = (
            None if network.classifier is None else ClassCentres(config, network.classifier.dimensions, classes)
        )
        self.vae = None if network.vae is None else Heads(config, classes)
        self.smote = Smote(config, classes) if network.vae is not None and config.smote else None

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        yield torch.stack(list(self.terms(network, batch).values())).sum()

    def terms(self, network: Network, batch: base.Batch) -> dict[str, Tensor]:
        """Each loss by name."""
        terms: dict[str, Tensor] = {}
        inputs, labels = batch.inputs, batch.labels
        if self.classifier is not None and network.classifier is not None:
            embedding = network.classifier(inputs["spectrum"], inputs["stft"], inputs.get("phase"))
            terms["classifier"] = self.classifier(embedding, labels)
        if self.vae is not None and network.vae is not None:
            log_mel = segments.standardised(inputs["fine_log_mel"], inputs["waveform"])
            rows = Rows(log_mel, labels, conditions.power(inputs["waveform"]))
            if self.smote is not None and batch.clips is not None:
                rows = self.smote(rows, batch.clips)
            terms |= self.vae(network.vae, rows)
        return terms


def _over(values: Tensor, rows: Tensor) -> Tensor:
    """[B, cuts], [B] of 0 and 1 -> mean over the rows of 1; 0 where there is none."""
    return (values.mean(dim=1) * rows).sum() / rows.sum().clamp_min(1.0)
