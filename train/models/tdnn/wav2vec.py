"""The branch of wav2vec 2.0 (Baevski et al., NeurIPS 2020): speech latents of a waveform as maps over frames."""

from typing import Any

import torch
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from train.models.tdnn import weights
from train.models.tdnn.config import Wav2Vec

QUIET = 1e-7  # added to the variance of a window, as in the training of wav2vec 2.0


class Latents(nn.Module):
    """[B, samples] -> [B, width, steps], a step each 20 ms; windows are brought to mean 0 and variance 1 first.

    "encoder": the normalised output of the convolutions alone. "context": that of the transformer behind them.
    """

    def __init__(self, model: Any, kind: str) -> None:
        """`model`: a Wav2Vec2Model, whose parts are taken."""
        super().__init__()
        settings = model.config
        self.convolutions, self.norm = model.feature_extractor.conv_layers, model.feature_projection.layer_norm
        self.context = kind == "context"
        self.norm_last = settings.do_stable_layer_norm
        self.width = settings.hidden_size if self.context else settings.conv_dim[-1]
        self.strides = list(zip(settings.conv_kernel, settings.conv_stride, strict=True))  # samples
        if self.context:
            self.project, self.encoder = model.feature_projection.projection, model.encoder

    def forward(self, waveform: Tensor) -> Tensor:
        x = waveform - waveform.mean(dim=1, keepdim=True)
        x = (x / (x.square().mean(dim=1, keepdim=True) + QUIET).sqrt()).unsqueeze(1)
        for layer in self.convolutions:
            x = layer(x)
        x = self.norm(x.transpose(1, 2))
        return (self.transformed(x) if self.context else x).transpose(1, 2)

    def transformed(self, x: Tensor) -> Tensor:
        """[B, steps, conv_dim] -> [B, steps, hidden_size]; every step attends to every other, without a mask."""
        x = self.project(x)
        x = x + self.encoder.pos_conv_embed(x)
        x = self.encoder.dropout(x if self.norm_last else self.encoder.layer_norm(x))
        for layer in self.encoder.layers:
            x = layer(x)
        return self.encoder.layer_norm(x) if self.norm_last else x

    def steps(self, samples: int) -> int:
        """How many come out for that many samples."""
        for kernel, stride in self.strides:
            samples = (samples - kernel) // stride + 1
        return samples


class Resample(nn.Module):
    """[B, maps, steps] -> [B, maps, frames], linear in between; both divide the same window into equal parts."""

    low: Tensor  # [frames] the step before
    high: Tensor  # the step behind
    share: Tensor  # of the latter

    def __init__(self, steps: int, frames: int) -> None:
        super().__init__()
        place = ((torch.arange(frames) + 0.5) * (steps / frames) - 0.5).clamp(0, steps - 1)
        low = place.floor()
        for name, values in (
            ("low", low.long()),
            ("high", (low + 1).clamp(max=steps - 1).long()),
            ("share", place - low),
        ):
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        before = x.index_select(2, self.low)
        return before + self.share * (x.index_select(2, self.high) - before)


class Branch(nn.Module):
    """[B, samples] -> [B, bands, frames]."""

    def __init__(self, settings: Wav2Vec, samples: int, bands: int, frames: int) -> None:
        super().__init__()
        self.settings, self.frozen = settings, False
        self.latents = _random(settings)
        self.project = nn.Linear(self.latents.width, bands)
        self.resample = Resample(self.latents.steps(samples), frames)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.resample(self.project(self.latents(waveform).transpose(1, 2)).transpose(1, 2))

    def freeze(self, frozen: bool) -> None:
        """Whether the latents no longer learn: no gradient, no dropout."""
        self.frozen = frozen
        self.latents.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Branch":
        super().train(mode)
        self.latents.train(mode and not self.frozen)
        return self

    def load(self) -> None:
        """Take the pretrained weights."""
        found = Latents(weights.pretrained(self.settings.weights), self.settings.latents)
        try:
            self.latents.load_state_dict(found.state_dict())
        except RuntimeError:
            raise ConfigError(
                f"wav2vec.weights {self.settings.weights}: of another shape than wav2vec.architecture says; "
                "leave the architecture out"
            ) from None


def _random(settings: Wav2Vec) -> Latents:
    """Built anew; of a transformer that nobody listens to, no layer is."""
    unheard = {} if settings.latents == "context" else {"num_hidden_layers": 0}
    return Latents(weights.built({**settings.architecture, **unheard}), settings.latents)
