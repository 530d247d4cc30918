"""Settings; every row of the paper's ablation table is a switch."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from calib.clips import Clip
from edge_runtime.features import LogMel, Spec, Waveform
from train.draws import EveryClip, PerClass, Sampling
from train.models import base
from train.models.tdnn import weights


class Wav2Vec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pretrained wav2vec 2.0, fine-tuned and then frozen."""

    weights: str  # a folder, or a name of the Hugging Face hub: facebook/wav2vec2-base
    latents: Literal["encoder", "context"] = "context"  # of the convolutions (512 maps), of the transformer (768)
    epochs: Annotated[int, Meta(ge=0)] = 5  # of fine-tuning, the first of training.epochs
    architecture: dict[str, Any] = {}  # what differs from wav2vec2-base; none: filled in when a training begins

    def __post_init__(self) -> None:
        if strange := sorted(set(self.architecture) - weights.SHAPE):
            raise ValueError(f"architecture: no {strange[0]}; there is {', '.join(sorted(weights.SHAPE))}")


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="tdnn"):
    """The system's own settings."""

    tgram: bool = True  # a spectrogram that is learned from the waveform
    wav2vec: Wav2Vec | None = None  # speech latents
    attributes: bool = True  # the loss over attribute classes
    triplet: bool = True  # the loss over distances, from batches of P sections x K clips
    margin: Annotated[float, Meta(gt=0.0)] | None = 0.3  # of the triplets, a distance; None: softplus
    clips_per_class: Annotated[int, Meta(ge=2)] = 8  # K; P is training.batch / K

    one_machine_type: ClassVar[bool] = True
    class_by: ClassVar[tuple[str, ...]] = ("machine_type", "section", "attributes")
    logits_by: ClassVar[tuple[str, ...] | None] = ("machine_type", "section")

    def __post_init__(self) -> None:
        batch, each = self.training.batch, self.clips_per_class
        if self.triplet and (batch % each or batch < 2 * each):
            raise ValueError(
                f"training.batch {batch} does not hold two sections or more of clips_per_class {each}: "
                f"give a multiple of {each} from {2 * each} on, or triplet: false"
            )
        if self.wav2vec is not None and self.wav2vec.epochs >= self.training.epochs:
            raise ValueError(
                f"wav2vec.epochs {self.wav2vec.epochs} of training.epochs {self.training.epochs}: "
                "none is left for the rest; give fewer"
            )

    def inputs(self) -> dict[str, Spec]:
        heard = self.tgram or self.wav2vec is not None
        return {"log_mel": LogMel(), "waveform": Waveform()} if heard else {"log_mel": LogMel()}

    def resolved(self) -> "Config":
        if self.wav2vec is None or self.wav2vec.architecture:
            return self
        place = weights.folder(self.wav2vec.weights, download=True)
        found = msgspec.structs.replace(self.wav2vec, architecture=weights.architecture(place))
        return msgspec.structs.replace(self, wav2vec=found)

    def unavailable(self) -> str:
        return "" if self.wav2vec is None else weights.absent(self.wav2vec.weights)

    def outside(self) -> str:
        return "" if self.wav2vec is None else weights.digest(self.wav2vec.weights)

    def sampling(self, clips: Sequence[Clip]) -> Sampling:
        if not self.triplet:
            return EveryClip()
        machines = sorted({clip.machine for clip in clips})
        return PerClass([machines.index(clip.machine) for clip in clips], self.clips_per_class)

    def missing(self, clips: Sequence[Clip]) -> str:
        count = Counter(clip.machine for clip in clips)
        if len(count) < 2:
            return f"two sections or more, and here is only {', '.join(count) or 'none'}"
        if self.triplet and (single := [name for name, clips_ in count.items() if clips_ < 2]):
            return (
                f"two training clips or more of every section, and {single[0]} has one; "
                "train without distances: --set triplet=false"
            )
        if self.attributes and not any(clip.attributes for clip in clips):
            return "attributes of the clips, and here are none; train without their loss: --set attributes=false"
        return ""
