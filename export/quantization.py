"""What quantization found: quantization.json of a model folder and of its bundle."""

import hashlib
from collections.abc import Iterable

import msgspec
import numpy
import onnx
import onnxruntime

from calib.clips import Clip
from edge_runtime import __version__, bundle
from export.fallback import Left
from export.gate import Figures, Limits, too_few


class ClipSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clips by count and content; `files` where they must be told from clips that are reported on."""

    clips: int
    digest: str  # SHA-256 of their files' sorted SHA-256
    files: list[str] = []  # SHA-256 of each

    @classmethod
    def of(cls, clips: Iterable[Clip], named: bool = False) -> "ClipSet":
        """Read every file once."""
        hashes = sorted(bundle.sha256(clip.path) for clip in clips)
        return cls(len(hashes), hashlib.sha256("".join(hashes).encode()).hexdigest(), hashes if named else [])


class FormFound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form."""

    calibration: str | None  # minmax, entropy or percentile; None: nothing is calibrated
    tried: dict[str, float]  # calibration -> noise with everything quantized, on held-back clips
    in_float: list[Left]  # of the nodes that could be in lower precision
    share: float  # of all operations, in float
    figures: Figures
    kilobytes: int
    milliseconds: float  # a window, onnxruntime on one thread


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All forms; every figure is of held-back clips, which forms were chosen by."""

    network: str  # SHA-256 of model.onnx
    versions: dict[str, str]
    calibration_clips: ClipSet  # ranges and references come from these
    held_back_clips: ClipSet  # normal training clips; choices were made on them
    labelled_clips: ClipSet | None  # of --choose-on: nothing may be reported on them; None: no labels were looked at
    percentile: float
    limits: Limits
    max_noise: float  # of the first guess
    max_float_share: float  # of the first guess
    fp32: FormFound  # under the references of the CPU's form, as a bundle's FP32 network listens
    forms: dict[str, FormFound]  # "cpu", "trt", "fp16"

    @property
    def failures(self) -> list[str]:
        """Of the gate, form by form; the forms may be used where there are none."""
        every = {"fp32": self.fp32, **self.forms}
        return [f"{form}: {words}" for form, found in every.items() for words in found.figures.failures]


def versions() -> dict[str, str]:
    """Of what the files were made with."""
    return {
        "auscult": __version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": numpy.__version__,
    }


def table(found: Quantization) -> str:
    """Each form's choice, a line of figures for each, and what fails."""
    labelled = f", {found.labelled_clips.clips} labelled" if found.labelled_clips else ""
    clips = f"{found.calibration_clips.clips} clips to calibrate, {found.held_back_clips.clips} held back{labelled}"
    lines = [clips, *(_chosen(name, form) for name, form in found.forms.items())]
    lines.append(f"{'form':5}{'KiB':>8}{'ms':>8}{'cosine':>9}{'noise':>9}{'rank':>9}{'alarms':>9}{'AUC drop':>10}")
    lines += [_line(name, form) for name, form in {"fp32": found.fp32, **found.forms}.items()]
    if few := too_few(found.fp32.figures):
        lines.append(f"too few clips for a rank correlation: {', '.join(few)}")
    if not found.labelled_clips:
        lines.append("no labelled clips (--choose-on), so that no AUC was looked at")
    return "\n".join(lines + [f"gate: {words}" for words in found.failures])


def _chosen(name: str, form: FormFound) -> str:
    tried = ", ".join(f"{method} {noise:.4f}" for method, noise in form.tried.items())
    method = f"{form.calibration} (noise: {tried}); " if form.calibration else ""
    reasons = {left.why for left in form.in_float}
    nodes = [f"{sum(left.why == why for left in form.in_float)} for {why}" for why in sorted(reasons)]
    return f"{name}: {method}{form.share:.1%} of all operations in float; nodes: {', '.join(nodes) or 'none'}"


def _line(name: str, form: FormFound) -> str:
    figures = form.figures
    cells = [f"{figures.cosine:9.5f}", f"{figures.noise:9.5f}"]
    for value, spec in (
        (figures.mean_spearman, "9.4f"),
        (figures.false_alarms, "9.3f"),
        (figures.worst_auc_drop, "10.4f"),
    ):
        cells.append("-".rjust(int(spec.split(".")[0])) if value is None else format(value, spec))
    return f"{name:5}{form.kilobytes:8}{form.milliseconds:8.2f}{''.join(cells)}"
