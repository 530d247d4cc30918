"""Training: Lightning runs the loop, on whatever device and precision there is."""

import csv
import logging
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.warnings import PossibleUserWarning
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edge_runtime.cli import say
from train.data import Draws
from train.models.base import Batch, Objective, Training

CHECKPOINT = Path("checkpoints", "last.ckpt")
METRICS = "metrics.csv"


class Loop(LightningModule):
    """A network, its objective, their batches and their optimiser.

    What is drawn in an epoch depends on seed and epoch alone, so that a resumed run equals an unbroken one.
    """

    def __init__(
        self, network: nn.Module, objective: Objective, batches: DataLoader[Batch], training: Training
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # an objective may take several steps on a batch
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective, self.batches, self.training_config = objective, batches, training

    def train_dataloader(self) -> DataLoader[Batch]:
        """Lightning takes the first batch of a resumed run before it tells the sampler which epoch it is."""
        sampler = self.batches.sampler
        assert isinstance(sampler, Draws)
        sampler.set_epoch(self.trainer.fit_loop.epoch_progress.total.ready)
        return self.batches

    def on_train_epoch_start(self) -> None:
        torch.manual_seed((self.training_config.seed << 20) + self.current_epoch)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        losses = []
        for loss in self.objective.steps(self.network, batch):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        mean = torch.stack(losses).mean()
        self.log("loss", mean, on_step=False, on_epoch=True, batch_size=len(batch.labels))
        return mean

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; L2, whose gradient is 2 l2 w, on the weights of layers and not on norms, biases or class centres."""
        weights = [weight for weight in self.network.parameters() if weight.ndim > 1]
        rest = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        rest += [weight for weight in self.objective.parameters() if weight.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": 2.0 * self.training_config.l2},
            {"params": rest},
        ]
        return torch.optim.Adam(groups, lr=self.training_config.learning_rate)


class Record(Callback):
    """After every epoch a line of metrics and a checkpoint; progress on stderr while somebody looks."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._shown = folder, sys.stderr.isatty()
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, at: int) -> None:
        if self._shown:
            place = (
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} batch {at + 1}/{trainer.num_training_batches}"
            )
            print(f"\r{place} loss {float(outputs['loss']):.3f} ", end="", file=sys.stderr, flush=True)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        seconds = time.perf_counter() - self._began
        loss = float(trainer.callback_metrics["loss"])
        if self._shown:
            say(f"\repoch {trainer.current_epoch + 1}/{trainer.max_epochs} loss {loss:.4f}, {seconds:.1f} s".ljust(60))
        _append(self._folder / METRICS, {"epoch": trainer.current_epoch + 1, "loss": loss, "seconds": seconds})
        save(trainer, self._folder / CHECKPOINT)


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
    loop.objective.finish(loop.network, every_clip)
    save(trainer, checkpoint)


def save(trainer: Trainer, file: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    trainer.save_checkpoint(partial)
    partial.replace(file)


def _append(file: Path, row: dict[str, float]) -> None:
    new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
