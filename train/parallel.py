"""Several processes that train one network, as torchrun starts them; without it there is one, on the best device.

The first process alone writes, prints and shows bars. What the user has to mend is said in one line and once: what the
processes find together (`together`) by the first; what is found before they know each other, by the first of each
machine.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor, distributed

from edge_runtime.cli import say
from edge_runtime.errors import AuscultError, ConfigError


class SharedError(AuscultError):
    """A mistake that all processes stop by, at the same place; the first says it."""


def begin(precision: Any) -> Fabric:
    """The processes of this training, which know each other from here on."""
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    size, here = _number("WORLD_SIZE", 1), _number("LOCAL_WORLD_SIZE", 1)
    gpus = torch.cuda.device_count()
    if precision == "16-mixed" and not gpus:
        raise ConfigError("training.precision 16-mixed: needs a GPU, and here is none; take bf16-mixed or 32-true")
    if 0 < gpus < here:
        raise ConfigError(f"torchrun --nproc-per-node {here}: this machine has {gpus} GPUs; start a process for each")
    if size == 1:
        fabric = Fabric(devices=1, precision=precision, plugins=[LightningEnvironment()])
    else:
        fabric = Fabric(
            accelerator="cuda" if gpus else "cpu",
            devices=here,
            num_nodes=size // here,
            strategy=DDPStrategy(
                find_unused_parameters=True,  # an epoch may leave weights frozen, a step unused
                broadcast_buffers=False,  # statistics are of all processes already; what is kept of clips is one's own
            ),
            precision=precision,
            plugins=[TorchElasticEnvironment()],
        )
    fabric.launch()
    return fabric


def end() -> None:
    """The processes part; they were together to the last line, and none waits for another any more."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def one_voice() -> Iterator[None]:
    """Silence all processes but the first; a bug keeps its traceback in each."""
    first = _number("RANK", 0) == 0
    with _nothing() if not first else nullcontext():
        try:
            yield
        except SharedError as error:
            if first:
                say(f"error: {error}")
            distributed.barrier()  # torchrun ends all as soon as one has ended: that must not be before it is said
            raise SystemExit(2) from None
        except AuscultError as error:
            if first:
                raise
            if _number("LOCAL_RANK", 0) == 0:
                print(f"error: {error}", file=sys.__stderr__, flush=True)
            raise SystemExit(2) from None


@contextmanager
def _nothing() -> Iterator[None]:
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield


@contextmanager
def together() -> Iterator[None]:
    """All processes do what is within; a mistake that one of them finds stops all."""
    found: AuscultError | None = None
    try:
        yield
    except AuscultError as error:
        if not distributed.is_initialized():
            raise
        found = error
    if distributed.is_initialized():
        said = [""] * distributed.get_world_size()
        distributed.all_gather_object(said, "" if found is None else str(found))
        if first := next(filter(None, said), ""):
            raise SharedError(first)


def shared(line: str) -> AuscultError:
    """A mistake that every process has found by itself."""
    return SharedError(line) if distributed.is_initialized() else AuscultError(line)


def anywhere(found: bool, device: torch.device) -> bool:
    """Whether one of the processes has found it; all ask at the same place."""
    return bool(everyones(torch.tensor(float(found), device=device)).any())


def everyones(values: Tensor) -> Tensor:
    """[...] -> [processes, ...]: the same in every process, with no gradient."""
    if not distributed.is_initialized():
        return values.unsqueeze(0)
    found = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, values.contiguous())
    return torch.stack(found)


def _number(name: str, alone: int) -> int:
    """One of torchrun's words; `alone` where there is no torchrun."""
    return int(os.environ.get(name, alone))
