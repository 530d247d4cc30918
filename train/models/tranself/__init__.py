"""Paper 0, TranSelf-DyGCN: a transformer in time and one over tokens, taught by a graph of the machines' IDs.

    waveform [B, samples]       Timetoformer                                   -> [B, 128, frames]
    log_mel [B, frames, 128]    each band normalised, the former added         -> [B, 1, 128, frames]
    both                        Token-Transformer, mean over the map, linear   -> embedding [B, 128]
    embedding                   linear                                         -> logits [B, machine IDs]

ArcFace, DyGCN, CORAL between the conditions of a machine and the decoder belong to the training and are left behind.
"""

from train.models.tranself.config import Config
from train.models.tranself.network import Network
from train.models.tranself.objective import Objective

__all__ = ["Config", "Network", "Objective"]
