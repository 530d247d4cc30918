"""Building in a process of its own, with the real TensorRT-RTX: what it writes, what ends it, that nothing is left."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from edge_runtime.bundle import sha256
from edge_runtime.engine import child, environment, sidecar
from edge_runtime.engine.build import Order
from edge_runtime.engine.child import Limits
from edge_runtime.errors import BackendError
from tests.conftest import ROOT
from tests.edge_runtime.networks import TIME_MEAN

with_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install '.[tensorrt-rtx]': x86-64 alone has it"
)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def order(tmp_path, out):
    (tmp_path / "mean.onnx").write_bytes(TIME_MEAN)
    return Order(
        onnx=str(tmp_path / "mean.onnx"), engine=str(out / "mean.engine"), provider="tensorrt-rtx", precision="fp32",
        batch=4, compute_capabilities=["8.6"],
    )  # fmt: skip


def build(order, limits=Limits(), stop=None):  # noqa: B008
    with child.built(order, limits, stop) as (engine, made):
        child.install(engine, made, Path(order.engine))
    return made


@pytest.fixture
def endless(tmp_path, monkeypatch):
    """A TensorRT-RTX that builds for ever -> the file that is there once it has begun."""
    folder = tmp_path / "endless"
    folder.mkdir()
    (folder / "tensorrt_rtx.py").write_text(
        "import pathlib, time\n__version__ = '1.0'\nclass ILogger: pass\n"
        f"def Builder(log):\n    pathlib.Path({str(folder / 'begun')!r}).touch()\n    time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder / "begun"


def left(out):
    return sorted(file.name for file in out.iterdir())


def grandchild(pid):
    """The process that builds for `pid`, from when it is there."""
    for _ in range(2000):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for one in map(int, task.read_text().split()):
                if b"edge_runtime.engine.child" in Path(f"/proc/{one}/cmdline").read_bytes():
                    return one
        time.sleep(0.005)
    raise AssertionError("no process builds")


def gone(pid):
    for _ in range(400):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@with_rtx
def test_an_engine_lies_beside_what_says_how_it_was_made(order, out):
    made = build(order)
    assert left(out) == ["mean.engine", "mean.engine.json"]
    assert sidecar.read(out / "mean.engine") == made
    assert (made.onnx, made.engine) == (sha256(Path(order.onnx)), sha256(out / "mean.engine"))
    assert (made.provider, made.precision, made.batch, made.gpu) == ("tensorrt-rtx", "fp32", 4, "")
    assert made.tensorrt == environment.load("tensorrt-rtx").__version__
    assert made.compute_capabilities == ["8.6"] and made.seconds > 0


@with_rtx
def test_what_is_not_installed_is_gone(order, out):
    with child.built(order, Limits()) as (engine, _):
        assert engine.is_file()
    assert left(out) == []


@with_rtx
def test_an_engine_that_was_there_is_replaced(order, out):
    (out / "mean.engine").write_bytes(b"old")
    (out / "mean.engine.json").write_text("old")
    made = build(order)
    assert sidecar.read(out / "mean.engine") == made


@with_rtx
def test_a_build_that_fails_leaves_the_old_engine(order, out):
    build(order)
    Path(order.onnx).write_bytes(TIME_MEAN[:90])
    with pytest.raises(BackendError, match=r"^\S+mean\.onnx: tensorrt-rtx .* cannot read it: .*; export it again"):
        build(order)
    assert left(out) == ["mean.engine", "mean.engine.json"]
    sidecar.read(out / "mean.engine")


@with_rtx
def test_tensorrt_rtx_keeps_no_timings_and_leaves_the_file_alone(order, out, capsys):
    (out / "timings").write_bytes(b"damaged")
    build(msgspec.structs.replace(order, timing_cache=str(out / "timings")))
    assert "timings: not used, TensorRT-RTX times no kernels" in capsys.readouterr().err
    assert (out / "timings").read_bytes() == b"damaged"
    assert left(out) == ["mean.engine", "mean.engine.json", "timings"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(seconds=0.01), r"no engine within 0\.01 s; give --time-limit more"),
        (Limits(memory_mib=2), r"takes more than 2 MiB of memory \(it had \d+\); give --memory-limit more"),
    ],
    ids=["time", "memory"],
)
def test_a_build_beyond_a_limit_is_ended(endless, order, out, limits, words):
    with pytest.raises(BackendError, match=r"^\S+mean\.onnx: .*" + words):
        build(order, limits)
    assert left(out) == []


def test_a_build_can_be_stopped(endless, order, out):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(BackendError, match="building was stopped"):
        build(order, stop=stop)
    assert left(out) == []


def test_a_build_that_is_killed_says_so_and_leaves_nothing(endless, order, out):
    found = []
    killer = threading.Thread(target=lambda: found.append(os.kill(grandchild(os.getpid()), signal.SIGKILL)))
    killer.start()
    with pytest.raises(BackendError, match=r"the process that builds the engine died \(killed by SIGKILL\)"):
        build(order)
    killer.join()
    assert found == [None]
    assert left(out) == []


def test_a_process_that_dies_in_another_way_is_told_with_its_last_words(order, out, monkeypatch, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tensorrt_rtx.py").write_text("import os\nprint('no libnvinfer', flush=True)\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(BackendError, match=r"died \(exit code 7: no libnvinfer\); nothing was written"):
        build(order)
    assert left(out) == []


def interruptible() -> None:
    """What a shell starts in the background ignores SIGINT, and so do these tests and their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_build_ends_with_the_process_that_asked_for_it(endless, order, out, number):
    command = ["--onnx", order.onnx, "-e", order.engine, "--compute-capability", "8.6", "--provider", "tensorrt-rtx"]
    parent = subprocess.Popen(
        [sys.executable, ROOT / "export/build_engine.py", *command], stderr=subprocess.PIPE, preexec_fn=interruptible
    )
    building = grandchild(parent.pid)
    while not endless.exists():
        time.sleep(0.01)
    parent.send_signal(number)
    _, err = parent.communicate(timeout=30)
    assert gone(building)
    assert not (out / "mean.engine").exists()
    if number == signal.SIGKILL:
        assert len(left(out)) == 1
        with pytest.raises(BackendError):
            build(order, Limits(seconds=0.01))
        assert left(out) == []  # the next build cleans up
    else:
        assert left(out) == []
        assert parent.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
        assert b"Traceback" not in err


def test_it_is_ended_first_when_memory_runs_out_and_gives_way_to_who_listens():
    code = (
        "import os; from edge_runtime.engine import child; before = os.nice(0); child._give_way(os.getppid()); "
        "print(os.nice(0) - before or os.nice(0), open('/proc/self/oom_score_adj').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    lower, first = map(int, done.stdout.split())
    assert lower in (10, 19 - os.nice(0), 19)  # 19 is the end
    assert first == 1000


@with_rtx
def test_a_gpu_that_the_provider_does_not_know_is_named_with_those_it_knows(order, out):
    with pytest.raises(BackendError, match=r"^compute capability 8\.7: tensorrt_rtx \S+ builds for 7\.5, 8\.0, 8\.6"):
        build(msgspec.structs.replace(order, compute_capabilities=["8.7"]))
    assert left(out) == []
