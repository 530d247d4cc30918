"""The residual network of paper 1, in stages that mixup can come between: axes are time and frequency."""

from collections.abc import Sequence

from torch import Tensor, nn

CHANNELS = (16, 32, 64, 128)  # of Res1 to Res4
BLOCKS = 2  # in each


class Unit(nn.Sequential):
    """Convolution with odd kernel, batch norm and ReLU; the last of a block has no ReLU, and its norm begins at 0."""

    def __init__(
        self, channels: int, width: int, kernel: int, stride: tuple[int, int] = (1, 1), last: bool = False
    ) -> None:
        convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        norm = nn.BatchNorm2d(width)
        if last:
            nn.init.zeros_(norm.weight)
        super().__init__(convolution, norm, *([] if last else [nn.ReLU(inplace=True)]))


class Block(nn.Module):
    """Two 3x3 convolutions beside a skip, and a ReLU behind their sum (He et al. 2016, the first form).

    A block begins as its skip (Goyal et al. 2017). Begun otherwise, a first gradient of norm 400 at the paper's
    learning rate of 0.1 brings all embeddings onto one another; so begun, its norm is 20 to 40.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Unit(channels, channels, 3), Unit(channels, channels, 3, last=True))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.body(x)).relu()


class Backbone(nn.ModuleList):
    """Conv1 with Res1, Trans1 with Res2, Trans2 with Res3, Trans3 with Res4, Trans4.

    One after the other, [B, 1, T, F] -> [B, 128, T, F / 16]: transitions halve the bands. `time_strides` in frames, of
    Conv1 and of the four transitions; the paper's are 1.
    """

    def __init__(self, bands: int, time_strides: Sequence[int]) -> None:
        conv1, *transitions = time_strides
        stages: list[nn.Module] = [_stage(Unit(1, CHANNELS[0], 7, (conv1, 1)), CHANNELS[0])]
        for channels, width, frames in zip(CHANNELS, CHANNELS[1:], transitions, strict=False):
            stages.append(_stage(Unit(channels, width, 3, (frames, 2)), width))
        stages.append(Unit(CHANNELS[-1], CHANNELS[-1], 3, (transitions[-1], 2)))
        super().__init__(stages)
        self.channels = CHANNELS[-1]
        for _ in transitions:
            bands = (bands + 1) // 2
        self.bands = bands


def _stage(first: Unit, channels: int) -> nn.Sequential:
    return nn.Sequential(first, *[Block(channels) for _ in range(BLOCKS)])
