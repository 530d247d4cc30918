"""From an embedding back to the spectrogram it came from."""

from itertools import pairwise

from torch import Tensor, nn

CHANNELS = (64, 32, 16, 8, 1)
SCALE = 2 ** (len(CHANNELS) - 1)  # of a cell of the first map: bands, and frames


class Decoder(nn.Module):
    """[B, D] -> [B, bands, frames]: a dense layer to 64 maps of 8 x 20 (at 311 frames), then doubled four times."""

    def __init__(self, dimensions: int, bands: int, frames: int) -> None:
        super().__init__()
        self.bands, self.frames = bands, frames
        rows, columns = -(-bands // SCALE), -(-frames // SCALE)
        layers: list[nn.Module] = [nn.Linear(dimensions, CHANNELS[0] * rows * columns)]
        layers += [nn.Unflatten(1, (CHANNELS[0], rows, columns))]
        for channels, width in pairwise(CHANNELS):
            layers += [nn.BatchNorm2d(channels), nn.SiLU(), nn.ConvTranspose2d(channels, width, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.layers(embedding).squeeze(1)[:, : self.bands, : self.frames]
