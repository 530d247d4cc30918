"""What a build asks of TensorRT, in each of the versions that differ: flags, timings, layers, messages."""

from enum import IntEnum
from types import SimpleNamespace

import pytest

from edge_runtime.backends.cudart import Gpu
from edge_runtime.engine import build, cache, environment, sidecar
from edge_runtime.engine.environment import Here
from edge_runtime.engine.sidecar import Layer
from edge_runtime.errors import MissingError

RTX4070 = Gpu("NVIDIA GeForce RTX 4070", "8.9")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 3), ({"STRONGLY_TYPED": 1}, 2), ({"STRONGLY_TYPED": 0}, 1), ({}, 0)],
    ids=["10.3", "10.13", "RTX", "none left"],
)
def test_a_network_is_strongly_typed_wherever_that_can_be_asked_for(names, wanted):
    flags = IntEnum("Flags", names) if names else SimpleNamespace()
    assert build._creation_flags(SimpleNamespace(NetworkDefinitionCreationFlag=flags)) == wanted


class Config:
    """A configuration that takes the timings b"good", and answers to others as it is told."""

    def __init__(self, log, answer):
        self.log, self.answer, self.taken = log, answer, None

    def create_timing_cache(self, held):
        if held and held != b"good":
            if self.answer == "raises":
                raise TypeError("incompatible")
            if self.answer == "warns":
                self.log.faults.append("Failed to deserialize timing cache. Returning an empty timing cache.")
            if self.answer == "none":
                return None
        return held

    def set_timing_cache(self, held, ignore_mismatch):
        assert ignore_mismatch is False  # timings of another GPU are wrong here
        self.taken = held
        return held in (b"", b"good") or self.answer != "refuses"


@pytest.mark.parametrize("answer", ["raises", "warns", "none", "refuses"])
def test_a_timing_cache_that_does_not_fit_is_set_aside_and_never_an_error(tmp_path, answer, capsys):
    file, log = tmp_path / "timings", SimpleNamespace(faults=[])
    file.write_bytes(b"of another GPU")
    config = Config(log, answer)
    build.use_timings(config, log, file)
    assert config.taken == b""
    assert (file.exists(), (tmp_path / "timings.unusable").read_bytes()) == (False, b"of another GPU")
    assert "damaged, or of another TensorRT or GPU; now timings.unusable" in capsys.readouterr().out
    assert log.faults == []  # a build that fails later has another reason


@pytest.mark.parametrize("held", [b"good", None])
def test_a_timing_cache_that_fits_is_used_and_a_missing_one_is_begun(tmp_path, held, capsys):
    file, log = tmp_path / "timings", SimpleNamespace(faults=[])
    if held:
        file.write_bytes(held)
    config = Config(log, "refuses")
    build.use_timings(config, log, file)
    assert (config.taken, capsys.readouterr().out) == (held or b"", "")


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"Name": "conv", "Outputs": [{"Format/Datatype": "Int8 NC/32HW32"}]}, Layer("conv", "Int8 NC/32HW32")),
        ({"Name": "conv", "Outputs": [{"DataType": "Int8", "Format": "NC/32HW32"}]}, Layer("conv", "Int8")),
        ("conv + relu", Layer("conv + relu", "")),
    ],
    ids=["10", "11", "name alone"],
)
def test_the_precision_of_a_layer_is_read_from_every_form_of_the_inspector(told, wanted):
    assert build._layer(told) == wanted


@pytest.mark.parametrize(
    ("asked", "here", "ahead", "wanted"),
    [
        ("auto", Here(["tensorrt", "tensorrt-rtx"], RTX4070, "", False), False, "tensorrt"),
        ("auto", Here(["tensorrt-rtx"], RTX4070, "", False), False, "tensorrt-rtx"),
        ("auto", Here(["tensorrt", "tensorrt-rtx"], RTX4070, "", False), True, "tensorrt-rtx"),
        ("auto", Here(["tensorrt", "tensorrt-rtx"], None, "no driver", False), True, "tensorrt-rtx"),
        ("tensorrt-rtx", Here(["tensorrt", "tensorrt-rtx"], RTX4070, "", False), False, "tensorrt-rtx"),
    ],
)
def test_the_provider_is_chosen_by_what_is_here(asked, here, ahead, wanted):
    assert environment.choose(asked, here, ahead) == wanted


@pytest.mark.parametrize(
    ("asked", "here", "words"),
    [
        (
            "auto",
            Here([], None, "no NVIDIA driver here", False),
            r"no TensorRT here \(.*no NVIDIA driver.*tensorrt-rtx\]",
        ),
        ("auto", Here([], RTX4070, "", False), r"no TensorRT here; pip install '\.\[tensorrt\]'"),
        ("auto", Here([], Gpu("Orin", "8.7"), "", True), r"no TensorRT here; on a Jetson .*apt install nvidia-jetpack"),
        ("tensorrt", Here(["tensorrt-rtx"], None, "no driver", False), "tensorrt is not installed"),
        (
            "tensorrt",
            Here(["tensorrt"], None, "no driver", False),
            "builds on the GPU it builds for, and there is none",
        ),
        (
            "auto",
            Here(["tensorrt"], None, "no driver", False),
            r"TensorRT cannot build here \(no GPU can be used: no driver",
        ),
        ("tensorrt-rtx", Here(["tensorrt"], RTX4070, "", False), r"pip install '\.\[tensorrt-rtx\]'"),
    ],
)
def test_what_is_missing_is_told_with_its_remedy_and_with_what_works_without(asked, here, words):
    with pytest.raises(MissingError, match=words + r".*python -m edge_runtime run BUNDLE"):
        environment.choose(asked, here)


def test_a_jetson_is_known_by_its_release_file(tmp_path):
    file = tmp_path / "nv_tegra_release"
    file.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\nmore\n")
    assert sidecar.l4t(file) == "R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic"
    assert sidecar.l4t(tmp_path / "none") == ""


def test_engines_of_other_gpus_versions_and_batches_lie_beside_each_other(monkeypatch, tmp_path):
    monkeypatch.setenv("AUSCULT_CACHE", str(tmp_path))
    path = cache.engine_path("a" * 64, "tensorrt", "10.3.0", "NVIDIA GeForce RTX 4070", ["8.9"], 4)
    assert path == tmp_path / "engines" / ("a" * 16) / "tensorrt-10.3.0-nvidia-geforce-rtx-4070-cc8.9-b4.engine"
    monkeypatch.setenv("AUSCULT_CACHE", "")
    assert cache.engine_path("a" * 64, "tensorrt", "10.3.0", "Orin", ["8.7"], 1) is None
    assert cache.engines("a" * 64) == []
