"""What a training tells while it goes on: a bar and a line an epoch on stderr, and TensorBoard's events."""

import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from calib.progress import bar
from edge_runtime.cli import say
from edge_runtime.errors import ConfigError

TENSORBOARD = "tensorboard"  # folder of a run


class Log:
    """Told by the loop of the first process; a bar and lines only while somebody looks."""

    def __init__(self, epochs: int, batches: int, events: "Events | None" = None) -> None:
        self._epochs, self._batches, self._events = epochs, batches, events
        self._shown = sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None

    def begin_epoch(self, epoch: int, step: int) -> None:
        """`step` batches of it are done."""
        self._bar = bar(None, self._place(epoch), total=self._batches)
        self._bar.update(step)

    def step(self, epoch: int, step: int, loss: float, rate: float) -> None:
        """All counted from 0."""
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self._bar.update()
        if self._events is not None:
            self._events.write(epoch * self._batches + step, {"step/loss": loss, "step/learning_rate": rate})

    def end_epoch(self, epoch: int, row: dict[str, float]) -> None:
        """The row of the table."""
        self.close()
        if self._shown:
            clips = f"{row['clips_per_s']:.1f} clips/s"
            say(f"{self._place(epoch)} loss {row['loss']:.4f}, {row['seconds']:.1f} s, {clips}")
        if self._events is not None:
            last = (epoch + 1) * self._batches - 1  # step of the epoch
            self._events.write(last, {f"epoch/{name}": value for name, value in row.items() if name != "epoch"})

    def flush(self) -> None:
        """Before a checkpoint: what it has done has been told."""
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _place(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self._epochs}"


class Events:
    """TensorBoard's event files in a run folder; all are by the number of steps done."""

    def __init__(self, folder: Path, step: int) -> None:
        """What a broken run has told of this step and those after it does not count."""
        from torch.utils.tensorboard import SummaryWriter  # late: most trainings need none

        self._writer = SummaryWriter(folder / TENSORBOARD, purge_step=step)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Values by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """To the disk."""
        self._writer.flush()


def check_tensorboard() -> None:
    """Before anything is trained: whether the package is there."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise ConfigError("--tensorboard: the package tensorboard is missing; pip install tensorboard") from None
