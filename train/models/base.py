"""What every system has: settings, batches, a training objective."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
import torch
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
    batch: Annotated[int, Meta(ge=2)] = 64  # clips behind one gradient step, of all processes together
    accumulate: Annotated[int, Meta(ge=1)] = (
        1  # parts that a process takes its share of a batch in, to save memory; a batch norm sees one part at a time
    )
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
    save_minutes: Annotated[float, Meta(ge=0.0)] = 10.0  # between checkpoints within an epoch; 0.0: after every step


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
        """What the network takes: name -> spec. Every system says so."""
        raise NotImplementedError

    def resolved(self) -> "Config":
        """The settings with what pretrained weights say of themselves, when a training begins; may download them."""
        return self

    def unavailable(self) -> str:
        """Why a training cannot begin on this computer whatever the clips, in words; empty where nothing. Fast."""
        return ""

    def consistent(self) -> "Config":
        """The settings without what others have switched off, as they are when a file has been read."""
        return self

    def outside(self) -> str:
        """What a training depends on beside settings and clips, such as weights in files, as a digest."""
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

    def pairs(self) -> bool:
        """Whether every clip comes with another of its machine under other conditions, both augmented."""
        return False

    def optimiser_of(self, parameter: str) -> str:
        """The optimiser of one weight, by its name in the checkpoint: network.x.y, or objective.x."""
        return self.training.optimiser

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


def merging(keys: Sequence[Any]) -> Tensor:
    """[classes, merged]: classes of equal keys become one; labels @ this are labels of those, in the keys' order."""
    known = sorted(set(keys))
    return torch.eye(len(known))[[known.index(key) for key in keys]]


class Batch(NamedTuple):
    """Some clips, ready for a network: a whole batch, or the part of it that one process takes at once.

    Before its steps torch's global generator is seeded from `seed` and the part's number. What must be the same for any
    number of parts is drawn for the whole batch: `uniform`, `generator`.
    """

    inputs: dict[str, Tensor]  # by name, [B, ...] float32
    labels: Tensor  # [B, classes], each row sums to 1
    pair: dict[str, Tensor] | None = None  # inputs of each clip's pair, where the config asks for pairs
    clips: Tensor | None = None  # [B] number of each row's clip among those of the training
    seed: int = 0  # of the whole batch
    rows: list[int] | None = None  # of the whole batch that are here; None: all
    size: int | None = None  # clips of the whole batch; None: those here

    @property
    def whole(self) -> int:
        """Clips of the whole batch."""
        return len(self.labels) if self.size is None else self.size

    @property
    def share(self) -> float:
        """Of the whole batch's clips, those that are here."""
        return len(self.labels) / self.whole

    @property
    def places(self) -> list[int]:
        """Of the clips that are here, in the whole batch."""
        return list(range(self.whole)) if self.rows is None else self.rows

    def generator(self, number: int) -> torch.Generator:
        """The same for every part of a batch; another for each number, from 0."""
        return torch.Generator().manual_seed(self.seed + ((number + 1) << 32))

    def dealt(self, pieces: int, size: int) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Of every clip so many pieces: those of the whole batch, shuffled, some `size` of them for each step.

        -> a step's pieces that are here, as clip [n] and piece [n], and what the sum of their losses is divided by.
        """
        here = torch.full((self.whole,), -1)
        here[self.places] = torch.arange(len(self.labels))
        order = torch.randperm(self.whole * pieces, generator=self.generator(0))
        for step in order.tensor_split(max(1, len(order) // size)):
            clip, device = here[step // pieces], self.labels.device
            yield clip[clip >= 0].to(device), (step % pieces)[clip >= 0].to(device), len(step) * self.share

    def uniform(self, number: int) -> Tensor:
        """[B] of U(0, 1): the clips' places in draws for the whole batch."""
        return torch.rand(self.whole, generator=self.generator(number))[self.places].to(self.labels.device)


class Objective(nn.Module, ABC):
    """A loss, and the weights that only training needs."""

    @abstractmethod
    def steps(self, network: nn.Module, batch: Batch) -> Iterator[Tensor]:
        """The losses of a batch, often one: after each the weights take a step, and then the next is computed.

        A loss is a mean over the clips that are here. Of every part of a batch there are equally many.
        """

    def start(self, network: nn.Module) -> None:
        """Before a training that goes on from no checkpoint: take weights from elsewhere. Most systems need nothing."""

    def begin(self, network: nn.Module, epoch: int) -> None:
        """Before an epoch, counted from 0, or the rest of one: what is trained may depend on it, by `requires_grad_`.

        Every weight of the network and of the objective is in the optimiser; one without a gradient stays as it is.
        """

    def finish(self, network: nn.Module, batches: Iterable[Batch]) -> None:
        """After the last epoch: set what is computed from all training clips at once. Most systems need nothing."""
