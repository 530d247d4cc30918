"""Training: the loop over epochs, batches and steps, in one process or several (Lightning Fabric, torch's DDP).

What is drawn in an epoch depends on seed and epoch, what a step draws on its batch's seed, and the learning rate on the
batch's number: with the weights, the optimisers' states and the number of batches done, a checkpoint is all that it
takes to go on as if nothing had happened.
"""

import gc
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from calib.progress import bar
from edge_runtime.errors import AuscultError, ConfigError
from train import checkpoint, log, optimisers, parallel
from train.draws import Parts
from train.models.base import Batch, Config, Objective
from train.sync_norm import synchronised

SMALLEST_SCALE = 2.0**-16  # of a gradient scaler, which begins at 2^16: gradients that no scale makes finite


class EndOfStepsError(Exception):
    """A batch has no more losses."""


class Steps(nn.Module):
    """Network and objective as one module, of which every step is a forward: what wraps it sees each."""

    def __init__(self, network: nn.Module, objective: Objective, config: Config) -> None:
        super().__init__()
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective, self._l2 = objective, config.training.l2
        self._penalised = optimisers.penalised(config, self.named_parameters())

    def forward(self, losses: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """The steps of a batch -> the next one's loss, and what its gradient is taken of: L2 is in that."""
        try:
            loss = next(losses)
        except StopIteration:  # by an error of its own, so that DDP does not prepare for a gradient
            raise EndOfStepsError from None
        if not self._penalised:
            return loss, loss
        return loss, loss + self._l2 * torch.stack([weight.square().sum() for weight in self._penalised]).sum()

    def broken(self) -> str:
        """The first weight that is not finite; empty where there is none."""
        found = [name for name, array in self.named_parameters() if not torch.isfinite(array).all()]
        found += [name for name, array in self.named_buffers() if torch.isnan(array).any()]
        return found[0] if found else ""


class Loop:
    """A network, its objective, their batches and their optimisers."""

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        objective: Objective,
        batches: DataLoader[Batch],
        config: Config,
        folder: Path,
    ) -> None:
        """From the folder's checkpoint on, where there is one."""
        parts = batches.sampler
        assert isinstance(parts, Parts)
        self.fabric, self.batches, self.parts, self.folder = fabric, batches, parts, folder
        self.config, self.training, self.count = config, config.training, len(parts.draws)
        self.network, self.objective = network, objective
        self.steps: Any = fabric.to_device(Steps(network, objective, config))
        self.optimisers = optimisers.build(config, self.steps.named_parameters())
        self._optimiser: Any = fabric.setup_optimizers(self.optimisers)
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        self._wrapped: Any = None
        self._trained = [""]  # names of the weights that need a gradient
        self.progress = self._resumed()
        self._log: log.Log | None = None
        self._saved = time.perf_counter()

    def run(self, tensorboard: bool = False) -> None:
        """Train to the configured number of epochs."""
        several = self.fabric.world_size > 1
        if self._first:
            checkpoint.write_table(self.folder, self.progress)
            done = self.progress.epoch * self.count + self.progress.step
            events = log.Events(self.folder, done) if tensorboard else None
            self._log = log.Log(self.training.epochs, self.count, events)
        try:
            norms = synchronised(self.steps, self.fabric.device) if several else nullcontext()
            with norms, _right_kernels(self.fabric, self.config):
                while self.progress.epoch < self.training.epochs:
                    self.epoch()
        finally:
            if self._log is not None:
                self._log.close()

    def epoch(self) -> None:
        """One epoch, or what is left of it."""
        progress = self.progress
        self.steps.train()
        self.objective.begin(self.network, progress.epoch)
        self._wrap()
        self.parts.set_epoch(progress.epoch, progress.step)
        if self._log is not None:
            self._log.begin_epoch(progress.epoch, progress.step)
        began, items = time.perf_counter() - progress.seconds, iter(self.batches)
        while progress.step < self.count:
            rate = optimisers.learning_rate(self.training, progress.epoch, progress.step, self.count)
            self.optimisers.set_rate(rate)
            self._batch([self.fabric.to_device(next(items)) for _ in range(self.parts.each)], rate)
            progress.seconds = time.perf_counter() - began
            if progress.step < self.count and self._due():
                self.save()
        wrong = self.steps.broken()
        if parallel.anywhere(bool(wrong), self.fabric.device):
            what = f"after epoch {progress.epoch + 1}: {wrong or 'a weight of another process'} is not finite"
            raise parallel.shared(self.stopped(what))
        row = progress.end_epoch()
        if self._log is not None:
            self._log.end_epoch(progress.epoch - 1, row)
        self.save()

    def save(self) -> None:
        """A checkpoint of the weights as they are; the first process writes it."""
        if not self._first:
            return
        if self._log is not None:
            self._log.flush()
        state = {
            checkpoint.WEIGHTS: self.steps.state_dict(),
            checkpoint.OPTIMISERS: self.optimisers.state_dict(),
            checkpoint.SCALER: None if self.scaler is None else self.scaler.state_dict(),
            checkpoint.CONFIG_KEY: msgspec.to_builtins(self.config),
        }
        checkpoint.save(self.folder, state, self.progress)
        self._saved = time.perf_counter()

    def stopped(self, what: str) -> str:
        """The one line of a training that cannot go on."""
        file = self.folder / checkpoint.CHECKPOINT
        last = f"the last good checkpoint is {file}" if file.exists() else "no checkpoint yet"
        return f"{what}; {last}; train with a lower training.learning_rate"

    def _batch(self, parts: Sequence[Batch], rate: float) -> None:
        """All steps of a batch, of which `parts` are here."""
        losses: list[float] = []
        streams = [self.objective.steps(self.network, part) for part in parts]
        while (loss := self._step(parts, streams, first=not losses)) is not None:
            losses.append(loss)
        progress, mean = self.progress, sum(losses) / len(losses)
        if math.isfinite(mean):
            progress.loss, progress.clips = progress.loss + mean * parts[0].whole, progress.clips + parts[0].whole
        if self._log is not None:
            self._log.step(progress.epoch, progress.step, mean, rate)
        progress.step, progress.heard = progress.step + 1, progress.heard + parts[0].whole

    def _step(self, parts: Sequence[Batch], streams: Sequence[Iterator[Tensor]], first: bool) -> float | None:
        """One step -> the loss of the whole batch; None where the batch has no more."""
        self.optimisers.zero_grad()
        total, size = torch.zeros((), device=self.fabric.device), self.fabric.world_size
        for at, (part, stream) in enumerate(zip(parts, streams, strict=True)):
            if first:
                torch.manual_seed(part.seed + self.fabric.global_rank * len(parts) + at)
            with self.fabric.no_backward_sync(self._wrapped, enabled=at < len(parts) - 1):
                try:
                    loss, whole = self._wrapped(stream)
                except EndOfStepsError:
                    return None
                self.fabric.backward(whole * (part.share * size))  # DDP takes the mean over processes
            total += loss.detach() * part.share
        whole_loss: Any = self.fabric.all_reduce(total, reduce_op="sum")
        value = float(whole_loss)
        self._check(value)
        self._optimiser.step()
        return value

    def _check(self, loss: float) -> None:
        """A scaler skips a gradient that is not finite, and tries a smaller scale; without one it is over."""
        place = f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1} of {self.count}"
        if self.scaler is None:
            if not math.isfinite(loss):
                raise parallel.shared(self.stopped(f"{place}: the loss is {loss}"))
        elif self.scaler.get_scale() < SMALLEST_SCALE:
            what = f"{place}: the loss is {loss}, and no scale makes its gradient finite in 16 bits"
            raise parallel.shared(self.stopped(what))

    def _due(self) -> bool:
        """Whether it is time for a checkpoint; broken weights wait for the next loss to say so."""
        waited = time.perf_counter() - self._saved
        return self._first and waited >= 60.0 * self.training.save_minutes and not self.steps.broken()

    def _wrap(self) -> None:
        """DDP knows the weights that need a gradient when it is made: others are frozen now, or thawed."""
        trained = [name for name, weight in self.steps.named_parameters() if weight.requires_grad]
        if trained != self._trained:
            self._wrapped, self._trained = None, trained
            gc.collect()  # the one before would go on listening for gradients
            self._wrapped = self.fabric.setup_module(self.steps, move_to_device=False)

    def _resumed(self) -> checkpoint.Progress:
        found = checkpoint.load(self.folder)
        if found is None:
            return checkpoint.Progress()
        state, progress = found
        if progress.epoch > self.training.epochs:
            raise ConfigError(
                f"{self.folder}: trained for {progress.epoch} epochs already; resume with as many or more (--epochs)"
            )
        self.steps.load_state_dict(state[checkpoint.WEIGHTS])
        self.optimisers.load_state_dict(state[checkpoint.OPTIMISERS])
        if self.scaler is not None:
            self.scaler.load_state_dict(state[checkpoint.SCALER])
        return progress

    @property
    def _first(self) -> bool:
        return self.fabric.is_global_zero


@contextmanager
def _right_kernels(fabric: Fabric, config: Config) -> Iterator[None]:
    """Without oneDNN where it is wrong: a convolution of one column, strided, in bfloat16, has NaN for a gradient."""
    kept: Any = torch.backends.mkldnn
    before = kept.enabled
    kept.enabled = before and (fabric.device.type != "cpu" or config.training.precision == "32-true")
    try:
        yield
    finally:
        kept.enabled = before


def fit(loop: Loop, every_clip: Iterable[Batch], tensorboard: bool = False) -> None:
    """Train; then the first process, alone, sets what is computed from all clips at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between Lightning's version and torch's
        warnings.filterwarnings("ignore", "find_unused_parameters=True")  # an epoch, or a step, may have none
        loop.run(tensorboard)
    loop.fabric.barrier()
    if not loop.fabric.is_global_zero:
        return
    loop.steps.cpu().eval()
    loop.objective.finish(loop.network, bar(every_clip, "last pass"))
    if wrong := loop.steps.broken():
        raise AuscultError(loop.stopped(f"after the last pass: {wrong} is not finite"))
    loop.save()
