"""Training: Lightning runs the loop, on whatever device and precision there is."""

import csv
import logging
import math
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.warnings import PossibleUserWarning
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from calib.progress import bar
from edge_runtime.cli import say
from edge_runtime.errors import AuscultError
from train.draws import Draws
from train.models.base import Batch, Config, Objective, Training

CHECKPOINT = Path("checkpoints", "last.ckpt")
METRICS = "metrics.csv"
CONFIG_KEY = "config"  # of a checkpoint: all settings that it was trained with


class Loop(LightningModule):
    """A network, its objective, their batches and their optimiser.

    What is drawn in an epoch depends on seed and epoch alone, and the learning rate on the batch's number alone, so
    that a resumed run equals an unbroken one.
    """

    def __init__(
        self, network: nn.Module, objective: Objective, batches: DataLoader[Batch], config: Config, checkpoint: Path
    ) -> None:
        """`checkpoint`: the file that errors name as the last good one."""
        super().__init__()
        self.automatic_optimization = False  # an objective may take several steps on a batch
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective, self.batches = objective, batches
        self.config, self.training_config, self.checkpoint = config, config.training, checkpoint

    def train_dataloader(self) -> DataLoader[Batch]:
        """Lightning takes the first batch of a resumed run before it tells the sampler which epoch it is."""
        sampler = self.batches.sampler
        assert isinstance(sampler, Draws)
        sampler.set_epoch(self.trainer.fit_loop.epoch_progress.total.ready)
        return self.batches

    def on_train_epoch_start(self) -> None:
        torch.manual_seed((self.training_config.seed << 20) + self.current_epoch)
        self.objective.begin(self.network, self.current_epoch)

    def training_step(self, batch: Batch, at: int) -> Tensor:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        rate = learning_rate(self.training_config, self.current_epoch, at, len(self.batches))
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = []
        for loss in self.objective.steps(self.network, batch):
            if not torch.isfinite(loss):
                place = f"epoch {self.current_epoch + 1}, step {at + 1} of {len(self.batches)}"
                raise self.broken(f"{place}: the loss is {float(loss.detach())}")
            optimizer.zero_grad()
            self.manual_backward(loss + self._penalty())
            optimizer.step()
            losses.append(loss.detach())
        mean = torch.stack(losses).mean()
        self.log("loss", mean, on_step=False, on_epoch=True, batch_size=len(batch.labels))
        return mean

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """L2 is for the network's weights of two or more dimensions, not for norms, biases or class centres.

        Its gradient, 2 l2 w, is what `weight_decay` of Adam and SGD adds. AdamW's is decoupled (Loshchilov and Hutter
        2019), for all weights of two or more dimensions; L2 is then a part of the loss.
        """
        training = self.training_config
        rest = [weight for weight in self.objective.parameters() if weight.requires_grad]
        rest += [weight for weight in self.network.parameters() if weight.ndim <= 1]
        if training.optimiser == "adamw":
            decayed = [weight for weight in rest if weight.ndim > 1]
            rest = [weight for weight in rest if weight.ndim <= 1]
            return torch.optim.AdamW(
                _groups(self._weights() + decayed, rest, training.weight_decay), lr=training.learning_rate
            )
        groups = _groups(self._weights(), rest, 2.0 * training.l2)
        if training.optimiser == "sgd":
            return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum)
        if training.optimiser == "adamax":
            return torch.optim.Adamax(groups, lr=training.learning_rate)
        return torch.optim.Adam(groups, lr=training.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG_KEY] = msgspec.to_builtins(self.config)

    def check_weights(self, when: str) -> None:
        """A loss can be finite and its gradient not: such weights are never saved."""
        broken = [name for name, array in self.named_parameters() if not torch.isfinite(array).all()]
        broken += [name for name, array in self.named_buffers() if torch.isnan(array).any()]
        if broken:
            raise self.broken(f"{when}: {broken[0]} is not finite")

    def broken(self, what: str) -> AuscultError:
        """The one line of a training that cannot go on."""
        last = f"the last good checkpoint is {self.checkpoint}" if self.checkpoint.exists() else "no checkpoint yet"
        return AuscultError(f"{what}; {last}; train with a lower training.learning_rate")

    def _weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.network.parameters() if weight.ndim > 1]

    def _penalty(self) -> Tensor | float:
        """L2, where the optimiser does not add its gradient."""
        training = self.training_config
        if training.optimiser != "adamw" or not training.l2:
            return 0.0
        return training.l2 * torch.stack([weight.square().sum() for weight in self._weights()]).sum()


def learning_rate(training: Training, epoch: int, batch: int, batches: int) -> float:
    """Of a batch (both counted from 0); the steps that an objective takes on one batch share it."""
    if training.schedule == "cosine":
        done = (epoch * batches + batch) / (training.epochs * batches)
        share = max(0.0, done - training.hold) / (1.0 - training.hold)
        fall = 0.5 * (1.0 + math.cos(math.pi * share))
        return training.learning_rate * (training.floor + (1.0 - training.floor) * fall)
    drops = training.drops if training.schedule == "steps" else []
    return training.learning_rate * 0.1 ** sum(epoch >= round(drop * training.epochs) for drop in drops)


def _groups(decayed: list[nn.Parameter], rest: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    return [{"params": decayed, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


class Record(Callback):
    """After every epoch a line of metrics and a checkpoint; a bar and a line on stderr while somebody looks."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._shown = folder, sys.stderr.isatty()
        self._began = 0.0
        self._bar: tqdm[Any] | None = None

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._began = time.perf_counter()
        self._bar = bar(None, _place(trainer), total=int(trainer.num_training_batches))

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, at: int) -> None:
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(loss=f"{float(outputs['loss']):.3f}", refresh=False)
            self._bar.update()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._close_bar()
        assert isinstance(module, Loop)
        module.check_weights(f"after epoch {trainer.current_epoch + 1}")
        seconds = time.perf_counter() - self._began
        loss = float(trainer.callback_metrics["loss"])
        if self._shown:
            say(f"{_place(trainer)} loss {loss:.4f}, {seconds:.1f} s")
        _append(self._folder / METRICS, {"epoch": trainer.current_epoch + 1, "loss": loss, "seconds": seconds})
        save(trainer, self._folder / CHECKPOINT)

    def on_exception(self, *_: Any) -> None:
        self._close_bar()

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _place(trainer: Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def fit(loop: Loop, every_clip: Iterable[Batch], folder: Path) -> None:
    """Train to the configured number of epochs, from the folder's checkpoint on where there is one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    checkpoint, training = folder / CHECKPOINT, loop.training_config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)  # advice on the number of workers, and the like
        warnings.simplefilter("ignore", FutureWarning)  # between Lightning's version and torch's
        trainer = Trainer(
            max_epochs=training.epochs,
            accelerator="auto",
            devices=1,
            precision=training.precision,
            callbacks=[Record(folder)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(loop, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True)
    loop.network.eval()
    loop.objective.finish(loop.network, bar(every_clip, "last pass"))
    loop.check_weights("after the last pass")
    save(trainer, checkpoint)


def save(trainer: Trainer, file: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    trainer.save_checkpoint(partial)
    partial.replace(file)


def seconds(folder: Path) -> float:
    """How long the epochs of a run took, those before it was resumed too."""
    with (folder / METRICS).open() as stream:
        return sum(float(row["seconds"]) for row in csv.DictReader(stream))


def _append(file: Path, row: dict[str, float]) -> None:
    new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
