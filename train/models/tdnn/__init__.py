"""Paper 2: log-mel, a learned spectrogram and speech latents under a TDNN (Wang et al., APSIPA 2022).

    log_mel [B, frames, 128] dB    each band normalised
    waveform [B, samples]          TgramNet; wav2vec 2.0, its latents brought to 128 maps and to the same frames
    stacked [B, 3 x 128, frames]   five layers over time, mean and deviation over the frames   -> [B, 3000]
    embedding [B, 512]             linear
    logits [B, sections]           batch norm, ReLU, a hidden layer of 512, linear

Trained with the cross-entropy of the sections, batch-hard triplets of embeddings and the cross-entropy of attribute
classes by a second linear layer, which is left behind. An attribute class is a section with its attributes; the domain
has no part in it, as the paper counts attributes alone. One machine type a network.

What wav2vec 2.0 is fine-tuned on is not said in the paper. Here, in the first epochs, a linear layer tells the sections
from its projected latents' mean over time, and nothing else is trained; then it is frozen, and all the rest is trained.
"""

from train.models.tdnn.config import Config
from train.models.tdnn.network import Network
from train.models.tdnn.objective import Objective

__all__ = ["Config", "Network", "Objective"]
