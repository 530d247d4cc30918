"""Builds an engine in a process of its own, which can be late, crash or be killed without harm to who waits for it.

The child is the first that the kernel ends when memory runs out, it gives way to who listens, and it ends with its
parent. What it writes lies in a temporary folder beside the place where the engine is wanted, and goes with it.
"""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from edge_runtime.cli import say
from edge_runtime.engine import sidecar
from edge_runtime.engine.build import MIB, Order, build
from edge_runtime.engine.sidecar import Made
from edge_runtime.errors import AuscultError, BackendError

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 1800.0
POLL_S = 0.05
KEPT_FREE = 64 * MIB  # bytes: below that the whole machine stands still


class Limits(msgspec.Struct, frozen=True):
    """How long a build may take and how much memory."""

    seconds: float = TIME_LIMIT_S
    memory_mib: int | None = None  # None: three quarters of what is free when it begins


@contextmanager
def built(order: Order, limits: Limits, stop: threading.Event | None = None) -> Iterator[tuple[Path, Made]]:
    """The engine of an order, with its sidecar, in a temporary folder beside the place it is meant for.

    `install` moves it there; whatever is not installed is gone afterwards.
    """
    if not order.engine:
        raise BackendError("AUSCULT_CACHE is empty: no folder for engines; name one there, or give --engine FILE")
    wanted = Path(order.engine)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    _clear(wanted)
    with tempfile.TemporaryDirectory(prefix=f".{wanted.name}-{os.getpid()}-", dir=wanted.parent) as folder:
        engine = Path(folder) / wanted.name
        made = _run(msgspec.structs.replace(order, engine=str(engine)), Path(folder) / "result", limits, stop)
        sidecar.write(engine, made)
        yield engine, made


def _clear(wanted: Path) -> None:
    """Remove the folders of those who were killed before they could."""
    for folder in wanted.parent.glob(f".{glob.escape(wanted.name)}-*-*"):
        process = folder.name.removeprefix(f".{wanted.name}-").partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            shutil.rmtree(folder, ignore_errors=True)


def install(engine: Path, made: Made, to: Path) -> None:
    """Move an engine to its place, the sidecar last: an engine without one is never opened."""
    sidecar.side_file(to).unlink(missing_ok=True)
    engine.replace(to)
    sidecar.write(to, made)


def _run(order: Order, result: Path, limits: Limits, stop: threading.Event | None) -> Made:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "edge_runtime.engine.child", str(result), str(os.getpid())]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=sys.stderr if order.verbose else said,
            stderr=None if order.verbose else said,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as stream:
                stream.write(msgspec.json.encode(order))
            _watch(process, order, limits, stop)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace").strip().splitlines()
    return _outcome(order, result, process.returncode, words)


def _watch(process: subprocess.Popen[bytes], order: Order, limits: Limits, stop: threading.Event | None) -> None:
    """Until it ends; what goes beyond a limit is an error."""
    started = time.monotonic()
    memory = limits.memory_mib * MIB if limits.memory_mib is not None else _free() * 3 // 4
    while process.poll() is None:
        if time.monotonic() - started > limits.seconds:
            raise BackendError(f"{order.onnx}: no engine within {limits.seconds:g} s; give --time-limit more")
        if (used := _used(process.pid)) > memory:
            raise BackendError(
                f"{order.onnx}: building takes more than {memory // MIB} MiB of memory (it had {used // MIB}); "
                "give --memory-limit more, end other programs or add swap"
            )
        if limits.memory_mib is None and _free() < KEPT_FREE:
            raise BackendError(f"{order.onnx}: memory ran out while building; end other programs or add swap")
        if stop is not None and stop.is_set():
            raise BackendError(f"{order.onnx}: building was stopped")
        time.sleep(POLL_S)


def _outcome(order: Order, result: Path, code: int, words: list[str]) -> Made:
    """What the child left -> what it made; its words are progress, or the last of them the reason that it died."""
    if not result.exists():
        why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = f": {words[-1]}" if words else ""
        raise BackendError(f"{order.onnx}: the process that builds the engine died ({why}{last}); nothing was written")
    told = msgspec.json.decode(result.read_bytes(), type=Made | str)
    if isinstance(told, str):
        raise BackendError(told)
    for line in words:
        say(line)
    return told


def _used(pid: int) -> int:
    """Bytes of memory that a process holds; its address space says nothing, CUDA reserves it by the terabyte."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") or 0


def _free() -> int:
    """Bytes that can be had without swapping; on a Jetson the GPU takes from the same."""
    found = _kilobytes(Path("/proc/meminfo"), "MemAvailable:")
    return 1 << 62 if found is None else found


def _kilobytes(file: Path, field: str) -> int | None:
    """A line "field: number kB" of a file of /proc -> bytes; None: no such file or line."""
    with suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None


def main(result: Path, parent: int) -> None:
    """The child: an order on stdin -> the engine, and what was made (or why not) in `result`."""
    _give_way(parent)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    told: Made | str
    try:
        told = build(order)
    except AuscultError as error:
        told = str(error)
    partial = result.with_name("result.partial")
    partial.write_bytes(msgspec.json.encode(told))
    partial.replace(result)


def _give_way(parent: int) -> None:
    """End when the parent ends, be ended first when memory runs out, and run after those who listen."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        raise SystemExit(1)
    with suppress(OSError):
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
