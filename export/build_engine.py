"""ONNX -> TensorRT engine, on the machine that will run it; kept only if it decides as the bundle does.

    python export/build_engine.py BUNDLE                        INT8, into the cache: `run --backend tensorrt` takes it
    python export/build_engine.py BUNDLE -p best                every precision is built and timed; the fastest is kept
    python export/build_engine.py --onnx FILE -e FILE           any ONNX file; its precision is what the file says
    python export/build_engine.py BUNDLE --provider tensorrt-rtx --compute-capability 8.6 8.9     without a GPU

The build runs in a process of its own with a limit of time and of memory. Beside an engine lies a JSON file that says
what made it; it is checked before the engine is opened. An engine fits one GPU and one version of TensorRT: elsewhere
it is built again. `auto` takes tensorrt where there is a GPU, else tensorrt-rtx.
Exit codes: 0 done, 1 the engine decides otherwise than the bundle (it is not kept), 2 it cannot be built, in one line.
"""

import argparse
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from edge_runtime.backends.trt import TensorRT
from edge_runtime.bundle import FORMS, MANIFEST, Bundle, open_bundle
from edge_runtime.cli import parser, run_command, say
from edge_runtime.engine import child, environment, ready, replay
from edge_runtime.engine.build import MIB, Order
from edge_runtime.engine.child import Limits
from edge_runtime.engine.environment import Here
from edge_runtime.engine.replay import DecisionError
from edge_runtime.engine.sidecar import Made, side_file
from edge_runtime.errors import BackendError, ConfigError, first_line


class Candidate(msgspec.Struct, frozen=True):
    """One precision: what came of it."""

    precision: str
    onnx: str
    engine: str | None = None  # file; None: not kept
    made: Made | None = None  # None: it could not be built
    refused: str = ""  # why it is not kept


class Attempt(NamedTuple):
    """An order and what came of it: an engine in a temporary folder, or an error."""

    order: Order
    engine: Path | None = None
    made: Made | None = None
    error: BackendError | None = None


def build(orders: list[Order], limits: Limits, here: Here, bundle: Bundle | None) -> list[Candidate]:
    """Build every order; of those that decide as the bundle does the fastest is installed, and no other is left."""
    with ExitStack() as stack:
        attempts = [_attempt(stack, order, limits, here, bundle) for order in orders]
        kept = [one for one in attempts if one.made is not None]
        if not kept:
            raise _none_kept([one.error for one in attempts if one.error is not None])
        fastest = min(kept, key=lambda one: (one.made and one.made.milliseconds) or float("inf"))
        assert fastest.engine is not None and fastest.made is not None
        child.install(fastest.engine, fastest.made, Path(fastest.order.engine))
    return [_candidate(one, fastest) for one in attempts]


def _attempt(stack: ExitStack, order: Order, limits: Limits, here: Here, bundle: Bundle | None) -> Attempt:
    """What is built is there until the stack is closed."""
    say(f"{order.onnx}: building with {order.provider}")
    try:
        engine, made = stack.enter_context(child.built(order, limits))
        return Attempt(order, engine, _tried(engine, made, here, bundle))
    except BackendError as error:
        return Attempt(order, error=error)


def _none_kept(errors: list[BackendError]) -> BackendError:
    """The one error, or all in a line; decisions that differ are an engine's fault, the rest the user's to mend."""
    if len(errors) == 1:
        return errors[0]
    kind = DecisionError if any(isinstance(error, DecisionError) for error in errors) else BackendError
    return kind(f"no engine is kept: {'; '.join(map(str, errors))}")


def _candidate(one: Attempt, fastest: Attempt) -> Candidate:
    refused = "" if one is fastest else str(one.error or f"slower than {fastest.order.precision}")
    engine = one.order.engine if one is fastest else None
    return Candidate(one.order.precision, one.order.onnx, engine, one.made, refused)


def _tried(engine: Path, made: Made, here: Here, bundle: Bundle | None) -> Made:
    """Replayed and timed, where there is a GPU to do it on and a golden clip to do it with."""
    if here.gpu is None or here.gpu.compute_capability not in made.compute_capabilities:
        return msgspec.structs.replace(made, replayed="not replayed: no GPU here that it is built for")
    if bundle is None:
        return msgspec.structs.replace(made, replayed="not replayed: an ONNX file alone has no golden clip")
    backend = TensorRT(engine, made.onnx)
    try:
        words = replay.proved(bundle, backend, made.batch)
        return msgspec.structs.replace(made, replayed=words, milliseconds=replay.milliseconds(bundle, backend))
    finally:
        backend.close()


def lint(onnx: Path, precision: str) -> None:
    """Refuse what TensorRT refuses, with words that say what to do; a device may have no onnx to look with."""
    if importlib.util.find_spec("onnx") is None:
        say("onnx is not installed: the file is not looked through before TensorRT reads it")
        return
    from export import lint

    form = ready.FORMS.get(precision)
    found = lint.faults(onnx, form) if form else []
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise BackendError(
            f"{onnx}: {'; '.join(found[:3])}{more}; make it again with export/to_onnx.py and export/quantize.py"
        )


def _loaded(onnx: Path) -> None:
    """A file that is whole and valid, or an error."""
    from google.protobuf.message import DecodeError
    from onnx import checker, shape_inference

    try:
        checker.check_model(str(onnx))
    except (checker.ValidationError, shape_inference.InferenceError, DecodeError) as error:
        raise BackendError(f"{onnx}: not a whole and valid ONNX file ({first_line(error)}); copy it again") from None


def precision_of(onnx: Path) -> str:
    """What an ONNX file carries: "int8" with Q/DQ, "fp16" with half-precision weights, else "fp32"; "" without onnx."""
    if importlib.util.find_spec("onnx") is None:
        return ""
    import onnx as library

    _loaded(onnx)
    graph = library.load(onnx).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    half = any(tensor.data_type == library.TensorProto.FLOAT16 for tensor in graph.initializer)
    return "fp16" if half else "fp32"


def _files(options: argparse.Namespace, bundle: Bundle | None) -> dict[str, Path]:
    """What to build from, by precision."""
    if bundle is None:
        found = precision_of(options.onnx)
        if options.precision not in (None, found):
            raise ConfigError(
                f"--precision {options.precision}: {options.onnx} is {found}; precision is in the ONNX file"
            )
        return {found: options.onnx}
    there = ready.networks(bundle.folder)
    if options.precision == "best":
        return there
    wanted = options.precision or next(iter(there))
    if wanted not in there:
        raise ConfigError(
            f"--precision {wanted}: no {FORMS[ready.FORMS[wanted]]} in {bundle.folder}; it has {', '.join(there)}"
        )
    return {wanted: there[wanted]}


def _order(options: argparse.Namespace, precision: str, onnx: Path, provider: str, here: Here) -> Order:
    order = ready.order(onnx, precision, provider, here, options.batch, options.compute_capability)
    return msgspec.structs.replace(
        order,
        engine=str(options.engine or order.engine),
        workspace_mib=options.workspace,
        timing_cache=str(options.timing_cache) if options.timing_cache else order.timing_cache,
        verbose=options.verbose,
    )


def _checked(options: argparse.Namespace) -> Bundle | None:
    """Refuse options that do not go together -> the bundle, where one is given."""
    if (options.bundle is None) == (options.onnx is None):
        raise ConfigError("give either BUNDLE or --onnx FILE")
    if options.onnx is not None and not options.onnx.is_file():
        raise ConfigError(f"--onnx {options.onnx}: no such file")
    if options.onnx is not None and options.precision == "best":
        raise ConfigError("--precision best: an ONNX file has one precision; give a bundle")
    for capability in options.compute_capability:
        if not re.fullmatch(r"\d+\.\d", capability):
            raise ConfigError(f"--compute-capability {capability}: wanted numbers such as 8.6")
    _own_place(options)
    for name in ("batch", "workspace", "time_limit", "memory_limit"):
        if (value := getattr(options, name)) is not None and value <= 0:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: wanted 1 or more")
    return open_bundle(options.bundle) if options.bundle else None


def _own_place(options: argparse.Namespace) -> None:
    """An engine replaces an engine, and nothing else."""
    engine: Path | None = options.engine
    if engine is None:
        return
    if engine.is_dir() or (engine.exists() and not side_file(engine).exists()):
        raise ConfigError(f"--engine {engine}: exists and is no engine of this command; give another path")
    if (engine.parent / MANIFEST).exists():
        raise ConfigError(f"--engine {engine}: a bundle never changes once packed; give a path outside of it")


def _aimed(options: argparse.Namespace, provider: str, here: Here) -> None:
    """What is built without the GPU it is for must be told which."""
    if here.gpu is None and not options.compute_capability:
        words = f"no GPU here ({here.no_gpu}): name those to build for, such as --compute-capability 8.6 8.9"
        raise BackendError(f"{provider}: {words}; {environment.STILL}")
    if options.precision == "best" and (here.gpu is None or options.compute_capability):
        raise ConfigError("--precision best measures on the GPU that is here; without one give int8, fp16 or fp32")


def _table(found: list[Candidate]) -> str:
    """A line for each, and what there is to know of the one that is kept."""
    lines = [f"{'precision':10}{'ms a window':>12}{'MiB':>8}{'build s':>9}  "] if len(found) > 1 else []
    for one in found if len(found) > 1 else []:
        made, kept = one.made, f"kept: {one.engine}" if one.engine else f"not kept: {one.refused}"
        cells = ("-", "-") if made is None else (f"{made.milliseconds:.3f}", f"{made.seconds:.1f}")
        lines.append(f"{one.precision:10}{cells[0]:>12}{_size(one):>8}{cells[1]:>9}  {kept}")
    return "\n".join([*lines, *(_words(one) for one in found if one.engine)])


def _size(one: Candidate) -> str:
    return f"{Path(one.engine).stat().st_size / MIB:.1f}" if one.engine else "-"


def _words(one: Candidate) -> str:
    made = one.made
    assert made is not None
    where = f"{made.gpu or 'GPUs'} of compute capability {', '.join(made.compute_capabilities)}"
    layers = Counter(layer.precision or "unknown" for layer in made.layers)
    held = ", ".join(f"{count} {name}" for name, count in layers.most_common()) or "not read: no GPU here"
    speed = "" if made.milliseconds is None else f", {made.milliseconds:.3f} ms a window"
    return (
        f"{one.engine}: {made.precision or 'as the file says'}, {_size(one)} MiB, 1 to {made.batch} windows, "
        f"{made.provider} {made.tensorrt}, {where}, built in {made.seconds:.1f} s\n"
        f"  layers: {held}\n  {made.replayed}{speed}"
    )


def _parser() -> argparse.ArgumentParser:
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("bundle", metavar="BUNDLE", type=Path, nargs="?", help="bundle, or an ONNX file with --onnx")
    add("-o", "--onnx", metavar="FILE", type=Path, help="build from this file instead")
    add("-e", "--engine", metavar="FILE", type=Path, help="file to write (in the cache)")
    add("-p", "--precision", choices=("fp32", "fp16", "int8", "best"), help="which file of the bundle (int8)")
    add("-w", "--workspace", metavar="MiB", type=int, help="memory of the GPU while the engine runs (no limit)")
    add("-v", "--verbose", action="store_true", help="what TensorRT says")
    add("--batch", metavar="N", type=int, default=1, help="1 to N windows at once: a window of each machine (1)")
    add("--timing-cache", metavar="FILE", type=Path, help="timings of kernels, read and written (in the cache)")
    add("--provider", choices=("auto", "tensorrt", "tensorrt-rtx"), default="auto", help="what builds (auto)")
    add("--time-limit", metavar="S", type=float, default=child.TIME_LIMIT_S, help="seconds (%(default)g)")
    add("--memory-limit", metavar="MiB", type=int, help="of the process that builds (three quarters of what is free)")
    add("--compute-capability", metavar="X.Y", nargs="+", default=[], help="build ahead of time for these GPUs")
    add("--json", action="store_true", help="the same as JSON")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(argv)
    bundle = _checked(options)
    files = _files(options, bundle)
    here = environment.look()
    provider = environment.choose(options.provider, here, bool(options.compute_capability))
    _aimed(options, provider, here)
    for precision, onnx in files.items():
        lint(onnx, precision)
    orders = [_order(options, precision, onnx, provider, here) for precision, onnx in files.items()]
    try:
        found = build(orders, Limits(options.time_limit, options.memory_limit), here, bundle)
    except DecisionError as error:
        say(f"error: {error}")
        return 1
    print(msgspec.json.encode(found).decode() if options.json else _table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
