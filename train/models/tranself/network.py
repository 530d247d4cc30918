"""What listens."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from train.models.tranself.config import Config
from train.models.tranself.temporal import branch
from train.models.tranself.token_transformer import MAPS, TokenTransformer

WIDTH = 128  # dimensions of the embedding


class Network(nn.Module):
    """Both branches, the embedding and the classifier; windows of any number of frames, except with TgramNet."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int) -> None:
        super().__init__()
        frames, bands = shapes["log_mel"]
        self.norm = nn.BatchNorm1d(bands, affine=False)
        self.temporal = branch(config.temporal, bands, frames)
        self.tokens = TokenTransformer(config.token_learner, config.squeeze_excitation)
        self.embed = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(MAPS, WIDTH))
        self.classifier = nn.Linear(WIDTH, classes)

    def forward(self, log_mel: Tensor, waveform: Tensor) -> dict[str, Tensor]:
        """[B, frames, bands] dB, [B, samples] -> embedding [B, 128], logits [B, classes]."""
        embedding = self.embed(self.maps(self.normalised(log_mel), waveform))
        return {"embedding": embedding, "logits": self.classifier(embedding)}

    def normalised(self, log_mel: Tensor) -> Tensor:
        """[B, frames, bands] dB -> [B, bands, frames]: each band less its mean, over its deviation, of all training.

        The branch of the waveform is of this size too, so that neither drowns the other when they are added. There is
        no learned scale: the decoder's target must not be able to shrink.
        """
        return self.norm(log_mel.transpose(1, 2))

    def maps(self, normalised: Tensor, waveform: Tensor) -> Tensor:
        """[B, bands, frames], [B, samples] -> [B, 640, bands / 32, frames / 32]."""
        both = normalised if self.temporal is None else normalised + self.temporal(waveform)
        return self.tokens(both.unsqueeze(1))
