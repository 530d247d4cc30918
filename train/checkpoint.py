"""What a run writes while it trains: a checkpoint that a kill at any step leaves whole, and its table of epochs.

The checkpoint holds the table's rows; the file of the table is written after it, whole, from them. A kill between the
two can neither repeat a row nor lose one.
"""

import csv
import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from edge_runtime import config
from edge_runtime.errors import ConfigError

CHECKPOINT = Path("checkpoints", "last.ckpt")
METRICS = "metrics.csv"
CONFIG_KEY = "config"  # of a checkpoint: all settings that it was trained with
WEIGHTS, OPTIMISERS, SCALER, PROGRESS = "state_dict", "optimisers", "scaler", "progress"


@dataclass
class Progress:
    """How far a training has come."""

    epoch: int = 0  # epochs that are done
    step: int = 0  # batches of the next that are done
    loss: float = 0.0  # sum of its clips' losses
    clips: int = 0  # that the sum is of
    heard: int = 0  # its clips
    seconds: float = 0.0  # that it has taken
    rows: list[dict[str, float]] = field(default_factory=list)  # of the table, one for each epoch

    def end_epoch(self) -> dict[str, float]:
        """The next epoch begins -> the row of this one."""
        loss = self.loss / self.clips if self.clips else float("nan")
        row = {"epoch": self.epoch + 1, "loss": loss, "seconds": self.seconds, "clips_per_s": self.heard / self.seconds}
        self.epoch, self.step, self.loss, self.clips, self.heard, self.seconds = self.epoch + 1, 0, 0.0, 0, 0, 0.0
        self.rows.append(row)
        return row


def save(folder: Path, state: dict[str, Any], progress: Progress) -> None:
    """Write a checkpoint and then the table, each whole or not at all."""
    file = folder / CHECKPOINT
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as stream:
        torch.save({**state, PROGRESS: asdict(progress)}, stream)
        stream.flush()
        os.fsync(stream.fileno())  # on the disk before it takes the old one's place
    partial.replace(file)
    write_table(folder, progress)


def load(folder: Path) -> tuple[dict[str, Any], Progress] | None:
    """What `save` wrote, and nothing in the file is executed; None where there is none yet."""
    file = folder / CHECKPOINT
    if not file.exists():
        return None
    state = torch.load(file, map_location="cpu", weights_only=True)
    try:
        progress = Progress(**state[PROGRESS])
    except (KeyError, TypeError):
        raise ConfigError(f"{file}: a checkpoint of another version, which cannot go on; train it again") from None
    return state, progress


def write_table(folder: Path, progress: Progress) -> None:
    """A line for each epoch; no file before the first."""
    if not progress.rows:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, progress.rows[0])
    writer.writeheader()
    writer.writerows(progress.rows)
    config.save_text(folder / METRICS, text.getvalue())


def seconds(folder: Path) -> float:
    """How long the epochs of a run took, those before it was resumed too."""
    with (folder / METRICS).open() as stream:
        return sum(float(row["seconds"]) for row in csv.DictReader(stream))
