"""Settings; every part of both networks is a switch."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from calib.clips import Clip
from edge_runtime.features import LogMel, Phase, Spec, Spectrum, Stft, Waveform
from edge_runtime.scoring import Fusion
from train.draws import EveryClip, HalfAndHalf, Sampling
from train.models import base

STEP = 256  # samples between the frames of a segment
MEL = LogMel(step=STEP, n_mels=224, f_min=50.0, f_max=7800.0)
SEGMENT = 122  # frames: 32,000 samples


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="oevae"):
    """The system's own settings."""

    machine_type: str = ""  # that the pair is of; the run fills it in
    classifier: bool = True  # the three-branch network at all
    phase: bool = True  # its third branch
    activation: Literal["prelu", "relu"] = "prelu"  # of its layers
    sub_clusters: Annotated[int, Meta(ge=1)] = 16  # centres of each of its classes
    frozen_centres: bool = True  # as those of the network that it is made after
    vae: bool = True  # ResNet-18 and the autoencoder at all
    segment_frames: Annotated[int, Meta(ge=1)] = SEGMENT  # of 1024 samples, 256 apart
    outlier_exposure: bool = True  # the loss that tells clips of the type from those of other types
    attributes: bool = True  # the first latents follow attributes where there are any; off: always the mean power
    vae_weight: Annotated[float, Meta(ge=0.0)] = 1e-7  # of the autoencoder's terms beside the outliers'
    mixup: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5  # probability that a clip is mixed with another of its kind
    smote: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.2  # clips of the target domain, made up to this share of source

    one_machine_type: ClassVar[bool] = True
    outliers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.classifier or self.vae):
            raise ValueError("classifier and vae are both off: nothing is left to train; switch one on")

    def inputs(self) -> dict[str, Spec]:
        found: dict[str, Spec] = {}
        if self.classifier:
            found |= {"spectrum": Spectrum(), "stft": Stft()}
            found |= {"phase": Phase()} if self.phase else {}
        if self.vae:
            found |= {"fine_log_mel": MEL, "waveform": Waveform()}
        return found

    def for_type(self, machine_type: str) -> "Config":
        return msgspec.structs.replace(self, machine_type=machine_type)

    def judges(self, machine_type: str) -> bool:
        return machine_type == self.machine_type

    def sampling(self, clips: Sequence[Clip]) -> Sampling:
        kind = [clip.machine_type == self.machine_type for clip in clips]
        return HalfAndHalf(kind) if len(set(kind)) == 2 else EveryClip()

    def consistent(self) -> "Config":
        """A fusion without its parts that hear a network which is switched off."""
        there = {"embedding": self.classifier, "segments": self.vae, "latent": self.vae}
        if not isinstance(self.scoring, Fusion):
            return self
        kept = [at for at, part in enumerate(self.scoring.parts) if there.get(part.of, True)]
        if not kept or len(kept) == len(self.scoring.parts):
            return self
        weights = [self.scoring.weights[at] for at in kept] if self.scoring.weights else []
        left = msgspec.structs.replace(self.scoring, parts=[self.scoring.parts[at] for at in kept], weights=weights)
        return msgspec.structs.replace(self, scoring=left.parts[0] if len(kept) == 1 else left)

    def mixing(self) -> float:
        return self.mixup

    def optimiser_of(self, parameter: str) -> str:
        ours = parameter.startswith(("network.classifier.", "objective.classifier."))
        return "adamax" if ours else self.training.optimiser

    def missing(self, clips: Sequence[Clip]) -> str:
        types = sorted({clip.machine_type for clip in clips})
        there = f"here is only {', '.join(types) or 'none'}"
        if self.machine_type and self.machine_type not in types:
            return f"clips of {self.machine_type}, and {there}"
        if self.vae and self.outlier_exposure and len(types) < 2:
            return (
                f"a second machine type, whose clips are the outliers, and {there}; "
                "train without outliers: --set outlier_exposure=false"
            )
        classes = {(clip.machine, clip.attributes) for clip in clips}
        if self.classifier and len(classes) < 2:
            return (
                "clips of two machines or of two attributes, and here are none; "
                "train without the classifier: --set classifier=false"
            )
        return ""
