"""Settings; every part of the paper's ablation tables is a switch."""

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar, Literal

from calib.clips import Clip
from edge_runtime.features import LogMel, Spec, Waveform
from train.models import base

Temporal = Literal["none", "tgramnet", "transformer", "timetoformer"]
ClassifierLoss = Literal["poly", "cross_entropy", "focal"]


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="tranself"):
    """The system's own settings."""

    temporal: Temporal = "timetoformer"  # what hears the waveform
    token_learner: bool = True  # off: every patch is a token
    squeeze_excitation: bool = True  # the gate inside a token layer
    dygcn: bool = True  # the loss over a graph of the classes
    dan: bool = True  # CORAL between two conditions of a machine, and all augmentations
    arcface: bool = True  # the loss with an angular margin; off: only that of the classifier
    autoencoder: bool = True  # the loss of a decoder that gives the log-mel back
    classifier_loss: ClassifierLoss = "poly"

    class_by: ClassVar[tuple[str, ...]] = ("machine_type", "section")
    any_length: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.temporal == "tgramnet" and self.crop_frames not in (None, self.window_frames):
            raise ValueError("temporal tgramnet knows one length: leave crop_frames out, or choose another temporal")

    def inputs(self) -> dict[str, Spec]:
        return {"log_mel": LogMel(), "waveform": Waveform()}

    def pairs(self) -> bool:
        return self.dan

    def missing(self, clips: Sequence[Clip]) -> str:
        conditions: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
        for clip in clips:
            conditions[clip.machine].add((clip.attributes, clip.domain))
        if len(conditions) < 2:
            return f"two machine IDs or more, and here is only {', '.join(conditions) or 'none'}"
        if self.dan and all(len(found) < 2 for found in conditions.values()):
            return (
                "a machine ID under two conditions (attributes or domain), and here is none; "
                "train without CORAL between conditions: --set dan=false"
            )
        return ""
