"""The making of a network's other forms, each judged before it is kept."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from onnxruntime.quantization.calibrate import TensorsData

from calib.clips import Clip
from edge_runtime import bundle
from export import half, qdq, ranges, rounded
from export.fallback import FLOAT_SHARE, NOISE, Form, Left, Search
from export.gate import Figures, Judge, Limits, Machines
from export.hearing import Windows
from export.lint import faults
from export.quantization import FormFound
from export.ranges import Method

FILES: dict[bundle.Form, str] = {form: file for form, file in bundle.FORMS.items() if form != "fp32"}
Writer = Callable[[Collection[str], Path], None]  # nodes left in float, file
MEASURED = 8  # windows whose tensors must fit into half precision


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of the forms."""

    methods: Sequence[Method] = ranges.METHODS  # of calibration
    percentile: float = ranges.PERCENTILE
    noise: float = NOISE  # of the first guess: variance, of that of normal sound
    share: float = FLOAT_SHARE  # of the first guess: of all operations
    limits: Limits = Limits()


class Forms:
    """One network and the clips that its forms are made from and judged on."""

    def __init__(self, folder: Path, calibrating: list[Clip], also: list[Clip], new: list[Clip], wanted: Wanted):
        """References come from calibrating clips and from those also given; `new` is what forms are judged on."""
        self.model, self.wanted = bundle.load_model(folder), wanted
        self.fp32, self.network = folder / bundle.FP32, qdq.load(folder / bundle.FP32)
        fitted = [*calibrating, *also]
        self.windows = Windows([*fitted, *new], self.model)
        self._calibrating = [
            {name: window[name] for name in self.model.inputs} for window in self.windows.inputs[: len(calibrating)]
        ]
        self.truth = self.windows.hear(self.fp32)
        self._new = np.arange(len(self.windows.clips)) >= len(fitted)
        self.judge = Judge(self.truth, self._new, self.model, wanted.limits)
        self.machines: Machines = {}  # of the CPU's form, once it is made

    def make(self, out: Path) -> dict[str, FormFound]:
        """Write every form into a folder, the CPU's first: the others are scored under its references."""
        operations = qdq.multiply_accumulates(self.network)
        self._search = Search(self.windows, self.truth, np.arange(len(self._calibrating)), operations, out / "tried")
        self._held = Search(self.windows, self.truth, np.flatnonzero(self._new), operations, out / "tried")
        found = ranges.calibrate(self.fp32, self._calibrating, self.wanted.percentile)
        return {"cpu": self._int8("cpu", found, out), "trt": self._int8("trt", found, out), "fp16": self._fp16(out)}

    def fp32_found(self) -> FormFound:
        """FP32 as a bundle's network of that form listens: under the CPU's references."""
        return self._found(self.fp32, self.judge.figures(self.truth, self.machines), [])

    def _int8(self, form: bundle.Form, found: Mapping[Method, TensorsData], out: Path) -> FormFound:
        every = qdq.plan(self.network)
        order = [node.name for node in self.network.graph.node if node.name in set(every.nodes(form))]

        def writer(method: Method) -> Form:
            def write(left: Collection[str], file: Path) -> None:
                qdq.write(self.network, qdq.plan(self.network, left), found[method], form, file)

            return Form(form, order, write)

        tried = {method: self._held.noise(writer(method)) for method in self.wanted.methods}
        best = min(tried, key=lambda method: tried[method])
        why = [Left(name, reason) for name, reason in qdq.never(self.network).items()]
        judge = self._judge_of_cpu if form == "cpu" else self._judge
        made = self._form(writer(best), judge, why, out, writer(best).write)
        return msgspec.structs.replace(made, calibration=best, tried=tried)

    def _fp16(self, out: Path) -> FormFound:
        kept = half.kept(self.network, self._calibrating[:MEASURED])
        order = [node.name for node in self.network.graph.node if node.name not in kept]

        def write(left: Collection[str], file: Path) -> None:
            half.write(self.network, {*kept, *left}, file)

        def simulate(left: Collection[str], file: Path) -> None:
            write(left, file)
            rounded.write(file, file)

        why = [Left(name, reason) for name, reason in kept.items()]
        return self._form(Form("fp16", order, simulate), self._judge, why, out, write)

    def _form(
        self, form: Form, judge: Callable[[Path], Figures], why: list[Left], out: Path, write: Writer
    ) -> FormFound:
        """Search with what onnxruntime listens with, then write what is shipped."""
        left = self._search.left(form, judge, self.wanted.noise, self.wanted.share)
        file, nodes = out / FILES[form.name], [one.node for one in left]
        form.write(nodes, file)
        heard = self.windows.hear(file)
        write(nodes, file)
        if wrong := faults(file, form.name):
            raise RuntimeError(f"{file.name}: {'; '.join(wrong[:3])}")
        if form.name == "cpu":
            self.machines = self.judge.fit(heard)
        return self._found(file, self.judge.figures(heard, self.machines), why + left)

    def _found(self, file: Path, figures: Figures, left: Iterable[Left]) -> FormFound:
        left = list(left)
        return FormFound(
            calibration=None,
            tried={},
            in_float=left,
            share=self._search.share({one.node for one in left}) if left else float(file == self.fp32),
            figures=figures,
            kilobytes=file.stat().st_size // 1024,
            milliseconds=self.windows.milliseconds(file),
        )

    def _judge(self, file: Path) -> Figures:
        return self.judge.figures(self.windows.hear(file), self.machines)

    def _judge_of_cpu(self, file: Path) -> Figures:
        """Of the form whose references FP32 must be able to listen under, or no other form ever will."""
        heard = self.windows.hear(file)
        machines = self.judge.fit(heard)
        figures, fp32 = self.judge.figures(heard, machines), self.judge.figures(self.truth, machines)
        return msgspec.structs.replace(figures, failures=figures.failures + fp32.failures)
