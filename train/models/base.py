"""What every system has: settings, batches, a training objective."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta
from torch import Tensor, nn

from calib.clips import Clip
from edge_runtime import features
from edge_runtime.features import Spec, Stft
from edge_runtime.pooling import Pooling
from edge_runtime.scoring import Nearest, Scoring
from train.draws import EveryClip, Sampling


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How any network is trained."""

    epochs: Annotated[int, Meta(ge=1)] = 10
    batch: Annotated[int, Meta(ge=2)] = 64  # clips
    optimiser: Literal["adam", "adamax", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Meta(gt=0.0, le=1e38)] = 1e-3  # at the start
    momentum: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.9  # of sgd
    weight_decay: Annotated[float, Meta(ge=0.0)] = (
        0.0  # of adamw, decoupled: what a step of learning rate 1 would take off every weight
    )
    l2: Annotated[float, Meta(ge=0.0)] = 1e-5  # times the sum of the squared weights of every layer, added to the loss
    schedule: Literal["constant", "cosine", "steps"] = "constant"  # cosine: to `floor` at the end
    hold: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0  # of cosine: share of the epochs before the rate begins to fall
    floor: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0  # of cosine: share of the rate that is left at the end
    drops: list[float] = []  # of steps: shares of the epochs, 0 to 1, after which the rate is a tenth of what it was
    seed: Annotated[int, Meta(ge=0)] = 0  # of weights, order, offsets and augmentations
    workers: Annotated[int, Meta(ge=0)] = 1  # processes that compute features; 0: the main one does
    cache_mb: Annotated[int, Meta(ge=0)] = (
        1024  # MiB of sound held in memory; what is beyond is read from disk when it is needed
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"  # Lightning's names


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A YAML file in train/configs, less what the system adds."""

    window_frames: Annotated[int, Meta(ge=5)] = features.WINDOW_FRAMES  # frames of 1024 samples, 512 apart
    hop_frames: Annotated[int, Meta(ge=1)] = features.HOP_FRAMES  # between scores
    crop_frames: Annotated[int, Meta(ge=5)] | None = None  # of a training window; None: as many as listen
    poolings: dict[str, Pooling] = {}  # outputs beside the network's own, for a scoring that joins both
    scoring: Scoring = Nearest()
    training: Training = Training()

    one_machine_type: ClassVar[bool] = False  # whether a network of this system knows one machine type alone
    outliers: ClassVar[bool] = False  # whether clips of the other types then take part in its training
    source_only: ClassVar[bool] = False  # whether clips of the target domain are kept out of the training
    class_by: ClassVar[tuple[str, ...]] = (
        "machine_type",
        "section",
        "attributes",
        "domain",
    )  # tells classes apart
    logits_by: ClassVar[tuple[str, ...] | None] = None  # tells the classes of the logits apart; None: as class_by
    any_length: ClassVar[bool] = False  # whether the network takes windows of any number of frames (crop_frames)

    @property
    def window(self) -> int:
        """Samples."""
        return features.samples_of(self.window_frames, Stft())

    @property
    def hop(self) -> int:
        """Samples."""
        return self.hop_frames * features.STEP

    @property
    def crop(self) -> int:
        """Samples of a training window."""
        return features.samples_of(self.crop_frames or self.window_frames, Stft())

    def inputs(self) -> dict[str, Spec]:
        """What the network takes: name -> spec."""
        raise NotImplementedError

    def resolved(self) -> "Config":
        """The settings with what pretrained weights say of themselves, when a training begins; may download them."""
        return self

    def unavailable(self) -> str:
        """Why a training cannot begin on this computer whatever the clips, in words; empty where nothing. Fast."""
        return ""

    def for_type(self, machine_type: str) -> "Config":
        """The settings of a network that knows one machine type alone; most need not know which."""
        return self

    def judges(self, machine_type: str) -> bool:
        """Whether machines of a type that took part in the training may be judged."""
        return True

    def sampling(self, clips: Sequence[Clip]) -> Sampling:
        """Which of the training clips make a batch."""
        return EveryClip()

    def mixing(self) -> float:
        """Probability that a clip's waveform is mixed with another's."""
        return 0.0

    def optimiser_of(self, parameter: str) -> str:
        """Which optimiser trains a parameter, by its name: "network.stem.weight", "objective.head.centres"."""
        return self.training.optimiser

    def pairs(self) -> bool:
        """Whether every clip comes with another of its machine under other conditions, both augmented."""
        return False

    def missing(self, clips: Sequence[Clip]) -> str:
        """What the training clips lack that this system needs, in words; empty where nothing."""
        return ""


class SoundClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One class of training clips: a machine under one set of conditions."""

    machine_type: str
    section: str
    attributes: str
    domain: str | None

    @property
    def machine(self) -> str:
        """As `Clip.machine` says it."""
        return f"{self.machine_type}_{self.section}" if self.section else self.machine_type


class Batch(NamedTuple):
    """Some clips, ready for a network."""

    inputs: dict[str, Tensor]  # by name, [B, ...] float32
    labels: Tensor  # [B, classes], each row sums to 1
    pair: dict[str, Tensor] | None = None  # inputs of each clip's pair, where the config asks for pairs
    clips: Tensor | None = None  # [B] number of each row's clip among those of the training


class Objective(nn.Module, ABC):
    """A loss, and the weights that only training needs."""

    @abstractmethod
    def steps(self, network: nn.Module, batch: Batch) -> Iterator[Tensor]:
        """The losses of a batch, often one: after each the weights take a step, and then the next is computed."""

    def start(self, network: nn.Module) -> None:
        """Before a training that goes on from no checkpoint: take weights from elsewhere. Most systems need nothing."""

    def begin(self, network: nn.Module, epoch: int) -> None:
        """Before an epoch, counted from 0: what is trained in it may depend on it. Most systems need nothing."""

    def finish(self, network: nn.Module, batches: Iterable[Batch]) -> None:
        """After the last epoch: set what is computed from all training clips at once. Most systems need nothing."""
