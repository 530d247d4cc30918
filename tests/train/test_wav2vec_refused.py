"""Weights that are none, a package that is missing, settings that cannot be: one line each, and nothing is begun."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install '.[wav2vec]'")

from edge_runtime.errors import ConfigError
from export.bench import plan, registry
from tests.conftest import ROOT, TINY_WAV2VEC
from tests.train.conftest import error
from tests.train.conftest import wav2vec_words as words
from train import run, settings

YAML = ROOT / "train" / "configs" / "tdnn.yaml"


def other_model(folder: Path, tmp_path: Path) -> Path:
    return _told(folder, tmp_path, model_type="hubert")


def _told(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    told = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**told, **changes}))
    return copy


def no_weights(folder: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    return copy


def broken(folder: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"nothing")
    return copy


def of_another_shape(folder: Path, tmp_path: Path) -> Path:
    return _told(folder, tmp_path, hidden_size=32)


def with_more_layers(folder: Path, tmp_path: Path) -> Path:
    return _told(folder, tmp_path, num_hidden_layers=3)


WRONG = [
    (lambda *_: "/nowhere/at all", "no such folder, and no name of the hub, which is OWNER/MODEL"),
    (lambda _, empty: empty, "no config.json in it; wanted config.json with model_type wav2vec2"),
    (other_model, "config.json is of model_type hubert"),
    (no_weights, "no model.safetensors and no pytorch_model.bin in it"),
    (broken, "cannot be read"),
    (of_another_shape, "as config.json tells; get it again"),
    (with_more_layers, "no weights of encoder.layers.2"),
    (lambda *_: "nobody/nothing", "it is not on this computer; get it with `hf download nobody/nothing`"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_weights_that_are_none_are_refused_in_one_line_and_no_run_is_begun(
    sections, folder, tmp_path, capsys, monkeypatch, wrong, said
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place, out = wrong(folder, tmp_path), tmp_path / "run"
    line = error(capsys, run.main, YAML, *words(sections, out, f"wav2vec.weights={place}"))
    assert f"wav2vec.weights {place}: " in line and said in line
    assert not out.exists()


def test_a_missing_package_is_one_line_with_what_to_install(sections, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    line = error(capsys, run.main, YAML, *words(sections, tmp_path / "run"))
    assert "pip install 'auscult[wav2vec]'" in line
    listed = {one.name: one for one in registry.listing()}
    assert (listed["tdnn"].parameters, listed["tdnn"].macs) == (None, None)  # unknown, not nothing
    assert "pip install 'auscult[wav2vec]'" in listed["tdnn"].title
    assert listed["tdnn_edge"].parameters > 5e6


def test_a_benchmark_looks_nowhere_else_and_says_what_is_not_here(sections, folder, tmp_path, monkeypatch):
    asked: list[bool] = []

    def nothing(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        asked.append(local_files_only)
        raise FileNotFoundError

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)
    found = planned(sections, tmp_path, "tdnn:wav2vec.weights=nobody/nothing")
    assert "hf download nobody/nothing" in found.missing["tdnn"] and "tdnn_edge" not in found.missing
    assert set(asked) == {True}
    assert planned(sections, tmp_path, f"tdnn:wav2vec.weights={folder}").missing == {}


def planned(sections: Path, out: Path, change: str) -> plan.Plan:
    changes = [change, "training.batch=16"]
    return plan.plan(plan.Request(data=sections, out=out, systems=["tdnn", "tdnn_edge"], changes=changes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("wav2vec.epochs=100", "wav2vec.epochs 100 of training.epochs 100"),
        ("wav2vec.architecture={width: 3}", "architecture: no width; there is conv_bias"),
        ("wav2vec.latents=middle", "latents"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        settings.load(YAML, [change])


OTHER = json.dumps({**TINY_WAV2VEC, "intermediate_size": 64})


@pytest.mark.parametrize(
    ("shape", "said"),
    [("{num_attention_heads: 7}", "leave it out, the weights tell theirs"), (OTHER, "of another shape than wav2vec.")],
)
def test_an_architecture_that_the_weights_do_not_have_is_refused(sections, folder, tmp_path, capsys, shape, said):
    out, changes = tmp_path / "run", (f"wav2vec.weights={folder}", f"wav2vec.architecture={shape}")
    line = error(capsys, run.main, YAML, *words(sections, out, *changes))
    assert "wav2vec.architecture" in line and said in line and not out.exists()
