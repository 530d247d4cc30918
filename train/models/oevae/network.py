"""What listens."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from train.models.blocks import glorot
from train.models.branches import WIDTH, SpectrogramBranch, SpectrumBranch
from train.models.oevae import segments
from train.models.oevae.config import Config
from train.models.oevae.resnet import ResNet18
from train.models.oevae.vae import DOMAIN, Encoder


class Classifier(nn.Module):
    """The network of paper 4 with a branch for the phase."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        activation = nn.PReLU if config.activation == "prelu" else nn.ReLU
        self.spectrum = SpectrumBranch(shapes["spectrum"][0], activation)
        self.stft = SpectrogramBranch(shapes["stft"][1], activation)
        self.phase = SpectrogramBranch(shapes["phase"][1], activation) if config.phase else None
        self.dimensions = WIDTH * (3 if config.phase else 2)
        self.apply(glorot)

    def forward(self, spectrum: Tensor, stft: Tensor, phase: Tensor | None) -> Tensor:
        """[B, bins], [B, frames, 513], [B, frames, 513] -> [B, 384] of unit length; 256 without the phase."""
        found = [self.spectrum(spectrum), self.stft(stft)]
        if self.phase is not None:
            found.append(self.phase(phase))
        return nn.functional.normalize(torch.cat(found, dim=1), dim=1)


class Segments(nn.Module):
    """ResNet-18 on each cut of a window, and the means of its latents."""

    def __init__(self, frames: int, length: int) -> None:
        super().__init__()
        self.places, self.length = segments.starts(frames, length), length
        self.resnet, self.encoder = ResNet18(), Encoder()

    def forward(self, log_mel: Tensor) -> Tensor:
        """[B, frames, bands], standardised -> [B, cuts, 512]."""
        cuts = segments.cut(log_mel, self.places, self.length).flatten(0, 1)
        return self.resnet(cuts.transpose(1, 2).unsqueeze(1)).unflatten(0, (-1, len(self.places)))

    def latent(self, features: Tensor) -> Tensor:
        """[B, cuts, 512] -> [B]: -ln N(mean; 0, I) less its constant, without the latents of the conditions."""
        means = self.encoder.mean(self.encoder(features))
        return 0.5 * means[..., DOMAIN:].square().sum(dim=2).mean(dim=1)


class Network(nn.Module):
    """The pair, or one of it; its outputs follow."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int = 0) -> None:
        super().__init__()
        self.classifier = Classifier(config, shapes) if config.classifier else None
        self.vae = Segments(shapes["fine_log_mel"][0], config.segment_frames) if config.vae else None

    def forward(
        self,
        spectrum: Tensor | None = None,
        stft: Tensor | None = None,
        phase: Tensor | None = None,
        fine_log_mel: Tensor | None = None,
        waveform: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Inputs of one or both -> embedding [B, 384]; segments [B, cuts, 512], latent [B]."""
        found: dict[str, Tensor] = {}
        if self.classifier is not None:
            assert spectrum is not None and stft is not None
            found["embedding"] = self.classifier(spectrum, stft, phase)
        if self.vae is not None:
            assert fine_log_mel is not None and waveform is not None
            found["segments"] = self.vae(segments.standardised(fine_log_mel, waveform))
            found["latent"] = self.vae.latent(found["segments"])
        return found
