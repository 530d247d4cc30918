"""A network that tests of the device can have without onnx or torch, and a bundle that holds it."""

import base64
from pathlib import Path

from edge_runtime import bundle, config
from edge_runtime.bundle import sha256
from edge_runtime.engine import sidecar
from edge_runtime.engine.sidecar import Made
from edge_runtime.features import LogMel
from tests.edge_runtime.fake_tensorrt import ORIN, VERSION

# ReduceMean over axis 1: log_mel [n, 31, 128] -> embedding [n, 128]; what the detector without a network pools
TIME_MEAN = base64.b64decode(
    "CAg6hgEKPgoHbG9nX21lbBIJZW1iZWRkaW5nIgpSZWR1Y2VNZWFuKgsKBGF4ZXNAAaABByoPCghrZWVwZGltcxgAoAECEgRtZWFu"
    "Wh8KB2xvZ19tZWwSFAoSCAESDgoDEgFuCgIIHwoDCIABYh0KCWVtYmVkZGluZxIQCg4IARIKCgMSAW4KAwiAAUIECgAQDQ=="
)


def pack_network(model_folder: Path, out: Path) -> Path:
    """The bundle of a model folder whose pooling has become a network, the same for the CPU and for TensorRT."""
    from calib.golden import write_golden

    model = bundle.load_model(model_folder)
    fields = {name: getattr(model, name) for name in model.__struct_fields__}
    fields |= {"inputs": {"log_mel": LogMel()}, "outputs": {"embedding": [128]}, "beside": {}, "poolings": {}}
    config.save_json(model_folder / bundle.MODEL, bundle.Model(**fields))
    for name in (bundle.FP32, bundle.CPU, bundle.TRT):
        (model_folder / name).write_bytes(TIME_MEAN)
    write_golden(model_folder)
    bundle.write_bundle(model_folder, out)
    return out


def write_engine(file: Path, plan: bytes = TIME_MEAN, **changes) -> Path:
    """An engine as the fake TensorRT opens it: the ONNX file itself, with a sidecar of the fake GPU."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(plan)
    told = {
        "provider": "tensorrt", "tensorrt": VERSION, "cuda": "12.6", "gpu": ORIN.name,
        "compute_capabilities": [ORIN.compute_capability], "l4t": "", "onnx": sha256(file), "engine": sha256(file),
        "precision": "int8", "batch": 4, "workspace_mib": None, "layers": [], "seconds": 1.0, "auscult": "0.1.0",
    }  # fmt: skip
    sidecar.write(file, Made(**{**told, **changes}))
    return file
