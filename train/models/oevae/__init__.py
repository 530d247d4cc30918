"""Paper 3, OEVAE: a classifier of three branches and a variational autoencoder taught by outliers, one pair a type.

    spectrum, stft, phase          a branch each, side by side, of unit length       -> embedding [B, 384]
    fine_log_mel and waveform      log-mel as of the standardised sound, in 8 overlapping cuts of 2 s
    each cut                       ResNet-18                                          -> segments [B, 8, 512]
    each of segments               512 -> 256 -> means of 64 latents, the first 8 dropped: 0.5 sum mu^2,
                                   the mean over the cuts                             -> latent [B]

The first 8 latents are taught to carry the conditions of the machine, so that the other 56 need not; they say nothing
of anomalies. Class centres, the head that tells outliers, the latents' variances and the decoder belong to the training
and are left behind. At the default window 14.84 M parameters (ResNet-18 11.17, the encoder 0.15, the branches 3.53) and
8.69 G multiply-accumulates (7.86 and 0.83). Each segment of every normal window is a reference: 16 MB a machine of 1000
clips of 10 s.

What the paper leaves open: mixup is of waveforms, within the machine type or within the others; of SMOTE smote.py says
more, of the first latents conditions.py. Both networks learn from the same batches, half of them clips of the type and
half of the others, which the classifier tells apart too.
"""

from train.models.oevae.config import Config
from train.models.oevae.network import Network
from train.models.oevae.objective import Objective

__all__ = ["Config", "Network", "Objective"]
