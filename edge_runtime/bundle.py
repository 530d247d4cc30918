"""The bundle: everything that crosses from the desktop to the device, in one folder.

    manifest.json   format, model, machines, measured accuracy, SHA-256 of every other file; written last
    model.json      inputs, window, hop, scoring: what a model is, also before it is packed
    model.onnx      FP32, the reference          model.cpu.onnx, model.trt.onnx   INT8 for CPU and TensorRT
    model.fp16.onnx strongly typed, for GPUs     quantization.json   what stays in float and why, what was measured
    machines/*.npz  references, radii, threshold and normal scores of each machine
    golden.npz      a simulated clip, its features, embedding and score, to replay on the device

Opening checks every hash first. A half-written bundle has no manifest and does not open. A bundle without an ONNX
file has no network: what is scored is then pooled from its inputs. A bundle of an older format is migrated as it is
read (`edge_runtime/migrate.py`); its files stay as they are.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec
from numpy.typing import NDArray

from edge_runtime import __version__, config, features, migrate, utc
from edge_runtime.errors import BundleError
from edge_runtime.features import Spec
from edge_runtime.machine_file import load_arrays, load_machine
from edge_runtime.pooling import Pooling
from edge_runtime.scoring import Machine, Nearest, Scoring

FORMAT = migrate.FORMAT
MANIFEST, MODEL, GOLDEN, MACHINES = "manifest.json", "model.json", "golden.npz", "machines"
FP32, FP16, CPU, TRT = "model.onnx", "model.fp16.onnx", "model.cpu.onnx", "model.trt.onnx"
QUANTIZATION = "quantization.json"
LISTENS = (CPU, FP32)  # the first of them that there is
Form = Literal["cpu", "trt", "fp16", "fp32"]  # the last two hold no integers
FORMS: dict[Form, str] = {"cpu": CPU, "trt": TRT, "fp16": FP16, "fp32": FP32}


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network (or the detector without one) takes, gives and costs."""

    name: str
    system: str  # "mel_mean", "autoencoder", "featex", ...
    inputs: dict[str, Spec]  # the graph's inputs by name
    outputs: dict[str, list[int]]  # the graph's; their shapes without the batch axis: {"embedding": [256]}
    beside: dict[str, Spec] = {}  # inputs that no graph takes, only poolings
    poolings: dict[str, Pooling] = {}  # outputs beside the graph's, or instead of them, by name
    window: int = features.WINDOW  # samples behind one score
    hop: int = features.HOP  # samples between scores
    sample_rate: int = features.SAMPLE_RATE  # Hz
    scoring: Scoring = Nearest()
    parameters: int = 0
    macs: int = 0  # multiply-accumulates a window; 1 is 2 FLOPs
    trained_on: list[str] = []  # machines
    machine_types: list[str] = []  # that it knows, where it is for one alone; none: any
    classes: list[str] = []  # the machine that each of the network's logits stands for

    @property
    def computed(self) -> dict[str, Spec]:
        """Every input that is computed of a window, by name."""
        return {**self.inputs, **self.beside}


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured on test clips, which no choice was made on: ratios between 0 and 1."""

    auc: float
    pauc: float
    auc_fp32: float | None = None  # None: the bundle has no network
    pauc_fp32: float | None = None
    spearman: float | None = None  # of FP32 and INT8 scores


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last file written, and the first read."""

    format: int
    version: str  # of auscult
    created: str  # UTC, ISO 8601
    commit: str  # of the code that packed it, "" where it is not a checkout
    model: Model
    machines: list[str]
    accuracy: dict[str, Accuracy]
    files: dict[str, str]  # path -> SHA-256
    digest: str = ""  # SHA-256 of this manifest with an empty digest


class Bundle:
    """An opened bundle: every file has been checked against the manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest, self.model = folder, manifest, manifest.model

    @property
    def machines(self) -> list[str]:
        """Names of the machines it knows."""
        return self.manifest.machines

    @property
    def network(self) -> Path | None:
        """The ONNX file for the CPU, which the references were fitted with; None for a bundle without a network."""
        return next((self.folder / name for name in LISTENS if name in self.manifest.files), None)

    @property
    def model_hash(self) -> str:
        """Of what embeds and scores: machines that are enrolled on site are bound to it."""
        files = [MODEL] if self.network is None else [MODEL, self.network.name]
        return hashlib.sha256("".join(self.manifest.files[name] for name in files).encode()).hexdigest()

    def machine(self, name: str | None = None) -> Machine:
        """One machine's references; without a name, the only one."""
        if name is None and len(self.machines) == 1:
            name = self.machines[0]
        if name not in self.machines:
            asked = "no --machine given" if name is None else f"unknown machine {name}"
            raise BundleError(f"{self.folder}: {asked}; it knows {', '.join(self.machines)}")
        return load_machine(self.folder / MACHINES / f"{name}.npz")

    def unchanged(self) -> bool:
        """Whether the folder still holds what was opened, by its manifest."""
        try:
            return read_manifest(self.folder).digest == self.manifest.digest
        except BundleError:
            return False

    def check_network(self) -> None:
        """Whether the network on disk is still the one that the references are for; a BundleError where it is not."""
        if self.network is not None:
            _check_file(self.folder, self.network.name, self.manifest.files[self.network.name])

    def golden(self) -> dict[str, NDArray[Any]]:
        """Arrays of the golden clip by name."""
        return load_arrays(self.folder / GOLDEN)


def network_file(folder: Path) -> Path | None:
    """What the CPU runs in a bundle, or in a model folder that is not packed yet: INT8 where there is one."""
    return next((folder / name for name in LISTENS if (folder / name).exists()), None)


def open_bundle(folder: str | Path) -> Bundle:
    """Check format and every hash, then open."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, wanted in manifest.files.items():
        _check_file(folder, name, wanted)
    for name in sorted(set(payload(folder)) - set(manifest.files)):
        raise BundleError(f"{folder / name}: not in the manifest; a bundle never changes once packed, copy it again")
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Check format and digest, and bring what an older program wrote to today's fields; no other file is looked at."""
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; give the path of a bundle")
    file = folder / MANIFEST
    if not file.exists():
        raise BundleError(f"{folder}: no {MANIFEST}: half-written or not a bundle; pack or copy it again")
    try:
        told: dict[str, Any] = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        migrate.checked_format(told, str(file))
        if told.get("digest") != _digest(told):
            raise BundleError(f"{file}: changed since it was packed; copy the bundle again")
        return msgspec.convert({**migrate.manifest(told), "format": FORMAT}, Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError(f"{file}: {error}; copy the bundle again") from None


def _check_file(folder: Path, name: str, wanted: str) -> None:
    file = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise BundleError(f"{folder / MANIFEST}: names {name}, outside the bundle; do not use it")
    if not file.is_file():
        raise BundleError(f"{file}: missing; copy the bundle again")
    actual = sha256(file)
    if actual != wanted:
        raise BundleError(f"{file}: SHA-256 {actual[:12]}, manifest says {wanted[:12]}; copy the bundle again")


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode({**manifest, "digest": ""})).hexdigest()


def sha256(file: Path) -> str:
    """Hash of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def load_model(folder: Path) -> Model:
    """The model of a folder that is not packed yet, or of a bundle."""
    file = folder / MODEL
    if not file.exists():
        raise BundleError(f"{folder}: no {MODEL}; make it with export/to_onnx.py")
    told = config.load_json(file, dict[str, Any])
    try:
        return msgspec.convert(migrate.model(told), Model)
    except msgspec.ValidationError as error:
        raise BundleError(f"{file}: {error}; make it again with export/to_onnx.py") from None


def write_bundle(source: Path, out: Path, accuracy: dict[str, Accuracy] | None = None, commit: str = "") -> Manifest:
    """Copy a model folder to `out` with a manifest: payload first, manifest last, then one rename."""
    machines = sorted(file.stem for file in (source / MACHINES).glob("*.npz"))
    if not machines:
        raise BundleError(f"{source}: no machine is fitted yet; run calib/fit.py on it first")
    if out.exists():
        raise BundleError(f"{out}: already exists; give another path or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name in payload(source):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, partial / name)
        manifest = Manifest(
            format=FORMAT,
            version=__version__,
            created=utc.now("seconds"),
            commit=commit,
            model=load_model(source),
            machines=machines,
            accuracy=accuracy or {},
            files={name: sha256(partial / name) for name in payload(partial)},
        )
        manifest = msgspec.structs.replace(manifest, digest=_digest(msgspec.to_builtins(manifest)))
        config.save_json(partial / MANIFEST, manifest)
        partial.chmod(0o755)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def payload(folder: Path) -> list[str]:
    """Files of a bundle or model folder: the known kinds, not what a person left beside them."""
    kinds = (MODEL, "*.onnx", QUANTIZATION, GOLDEN, "machines/*.npz")
    return sorted(str(file.relative_to(folder)) for kind in kinds for file in folder.glob(kind))
