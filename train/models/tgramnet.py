"""TgramNet: a learned spectrogram of the waveform (Liu et al., ICASSP 2022)."""

from torch import nn

BANDS, KERNEL, STEP = 128, 1024, 512  # maps; samples; samples


class TgramNet(nn.Sequential):
    """[B, samples] -> [B, 128, frames]; 280,406 parameters at 313 frames.

    The layer norms run over time, so that a network belongs to one number of frames.
    """

    def __init__(self, frames: int, padding: int = 0) -> None:
        """`padding` samples of silence on either side: 512 as published, 0 for the frames of `features.LogMel`."""
        layers: list[nn.Module] = [nn.Unflatten(1, (1, -1)), nn.Conv1d(1, BANDS, KERNEL, STEP, padding, bias=False)]
        for _ in range(3):
            layers += [nn.LayerNorm(frames), nn.LeakyReLU(0.2), nn.Conv1d(BANDS, BANDS, 3, padding=1, bias=False)]
        super().__init__(*layers)
