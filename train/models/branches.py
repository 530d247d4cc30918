"""The branches of the two-branch network (Wilkinghoff, ICASSP 2024) and of those made after it.

    [B, bins] spectrum of the window             three strided 1-D convolutions, then five dense layers   -> [B, 128]
    [B, frames, bins] magnitude, or phase        less its mean over time, then a residual network         -> [B, 128]

No layer has a bias, so that no branch can learn a constant.
"""

from collections.abc import Callable

from torch import Tensor, nn

from train.models.blocks import SqueezeExcitation, same_padding

WIDTH = 128  # dimensions of a branch's embedding
Activation = Callable[[], nn.Module]  # makes a layer [B, ...] -> [B, ...]; each place gets one of its own


class SpectrumBranch(nn.Sequential):
    """[B, bins] -> [B, 128]."""

    def __init__(self, bins: int, activation: Activation = nn.ReLU) -> None:
        layers: list[nn.Module] = [nn.Unflatten(1, (1, bins))]
        channels = 1
        for kernel, stride in ((256, 64), (64, 32), (16, 4)):
            padding = same_padding(bins, kernel, stride)
            layers += [nn.Conv1d(channels, WIDTH, kernel, stride, padding, bias=False), activation()]
            layers += [SqueezeExcitation(WIDTH)]
            bins, channels = -(-bins // stride), WIDTH
        layers += [nn.Flatten()]
        for width in (bins * WIDTH, WIDTH, WIDTH, WIDTH):
            layers += [nn.Linear(width, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), activation()]
        super().__init__(*layers, nn.Linear(WIDTH, WIDTH, bias=False))


class Residual(nn.Module):
    """Two pre-activated 3x3 convolutions beside a skip; the skip, too, starts behind the first batch norm."""

    def __init__(self, channels: int, width: int, first: bool = False, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.norm = nn.Identity() if first else nn.BatchNorm2d(channels)
        self.body = nn.Sequential(
            activation(),
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            activation(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            SqueezeExcitation(width),
        )
        self.skip = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(channels, width, 1, bias=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.skip(x) + self.body(x)


class SpectrogramBranch(nn.Module):
    """[B, frames, bins] -> [B, 128]."""

    def __init__(self, bins: int, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(bins)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), activation(), nn.MaxPool2d(3, 2)
        )
        plan = ((16, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
        self.stages = nn.Sequential(
            *[Residual(*widths, first=at == 0, activation=activation) for at, widths in enumerate(plan)]
        )
        rows = ((bins + 1) // 2 - 3) // 2 + 1
        for _ in range(3):
            rows = (rows + 1) // 2
        self.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(128 * rows), nn.Linear(128 * rows, WIDTH, bias=False))

    def forward(self, stft: Tensor) -> Tensor:
        x = stft.transpose(1, 2)  # [B, bins, frames]
        x = self.norm(x - x.mean(dim=2, keepdim=True))
        x = self.stages(self.stem(x.unsqueeze(1)))  # [B, 128, bins / 32, frames / 32]
        return self.head(x.amax(dim=3))
