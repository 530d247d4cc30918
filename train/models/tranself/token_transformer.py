"""The Token-Transformer: a small MobileViT (Mehta and Rastegari, ICLR 2022) whose transformers see a few tokens.

The paper gives neither depths nor widths. They are those of MobileViT-S but for the last transformer, 208 wide and not
240: with the temporal branch the network then has the paper's 5.4 M parameters (5.43 M with 41 IDs), and takes 0.96 G
multiply-accumulates at the default window. The gate sees the hidden units of a token layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.models.blocks import InvertedResidual, convolution
from train.models.tranself.attention import Layer
from train.models.tranself.tokens import TokenFuser, TokenLearner, fold, unfold

STEM, MAPS = 16, 640  # channels of the first and of the last map
# channels, blocks, stride of the first, and of the transformer behind them: width d, layers
PLAN = ((32, 1, 1, 0, 0), (64, 3, 2, 0, 0), (96, 1, 2, 144, 2), (128, 1, 2, 192, 4), (160, 1, 2, 208, 3))
EXPANSION = 4  # of an inverted residual
TOKENS, HEADS = 8, 4
WIDEN = 2  # hidden units of a token layer, times d


class TokenTransformer(nn.Sequential):
    """[B, 1, bands, frames] -> [B, 640, bands / 32, frames / 32]."""

    def __init__(self, token_learner: bool = True, squeeze_excitation: bool = True) -> None:
        layers: list[nn.Module] = [Focus()]
        channels = STEM
        for width, blocks, stride, d, depth in PLAN:
            for at in range(blocks):
                layers.append(InvertedResidual(channels, width, stride if at == 0 else 1, EXPANSION))
                channels = width
            if depth:
                layers.append(TokenBlock(channels, d, depth, token_learner, squeeze_excitation))
        super().__init__(*layers, *convolution(channels, MAPS, 1))


class Focus(nn.Sequential):
    """[B, 1, H, W] -> [B, 16, H / 2, W / 2]: four neighbours become channels (YOLOX); an odd edge gets zeros."""

    def __init__(self) -> None:
        super().__init__(*convolution(4, STEM, 3))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = functional.pad(x, (0, width % 2, 0, height % 2))
        return super().forward(functional.pixel_unshuffle(x, 2))


class TokenBlock(nn.Module):
    """[B, C, H, W] -> [B, C, H, W]: what is near by convolutions, what is far by tokens of the patches."""

    def __init__(self, channels: int, width: int, depth: int, token_learner: bool, gated: bool) -> None:
        super().__init__()
        self.near = nn.Sequential(*convolution(channels, channels, 3), nn.Conv2d(channels, width, 1, bias=False))
        self.learner = TokenLearner(width, TOKENS) if token_learner else None
        self.fuser = TokenFuser(width, TOKENS) if token_learner else None
        layers = [Layer(width, WIDEN * width, HEADS, gated) for _ in range(depth)]
        self.far = nn.Sequential(*layers, nn.LayerNorm(width))
        self.back = nn.Sequential(*convolution(width, channels, 1))
        self.both = nn.Sequential(*convolution(2 * channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        patches = unfold(self.near(x))
        if self.learner is None or self.fuser is None:
            patches = self.far(patches)
        else:
            patches = self.fuser(patches, self.far(self.learner(patches)))
        far = self.back(fold(patches, *x.shape[2:]))
        return self.both(torch.cat([x, far], dim=1))
