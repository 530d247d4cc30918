"""What crosses from the desktop to the device: whole and unchanged, or not at all."""

import json
import shutil

import numpy as np
import pytest

from edge_runtime import bundle, check, machine_file
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import run_command
from edge_runtime.errors import BundleError


def test_a_machine_comes_back_as_it_was_saved(model_folder, tmp_path):
    machine = machine_file.load_machine(model_folder / "machines/fan_section_00.npz")
    machine_file.save_machine(tmp_path / "again.npz", machine)
    again = machine_file.load_machine(tmp_path / "again.npz")
    assert (again.scoring, len(again.fitted)) == (machine.scoring, 1)
    for one, other in ((machine, again), (machine.fitted[0], again.fitted[0])):
        for field in set(one.__struct_fields__) - {"fitted"}:
            assert np.array_equal(getattr(one, field), getattr(other, field)), field


def test_a_bundle_knows_its_machines_and_its_model(packed):
    opened = open_bundle(packed)
    assert opened.machines == ["fan_section_00", "pump_section_00"]
    assert opened.model.window == 31 * 512 + 512
    assert opened.network is None
    assert opened.machine("fan_section_00").threshold == 12.0


def test_a_flipped_byte_in_any_file_is_found_and_named(packed):
    files = [*json.loads((packed / "manifest.json").read_text())["files"]]
    assert {"golden.npz", "model.json", "machines/fan_section_00.npz"} <= set(files)
    for name in files:
        content = (packed / name).read_bytes()
        (packed / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        with pytest.raises(BundleError, match=rf"{name}: SHA-256 .* manifest says .*copy the bundle again"):
            open_bundle(packed)
        (packed / name).write_bytes(content)
    open_bundle(packed)


def test_a_flipped_byte_anywhere_in_the_manifest_is_found(packed):
    content = (packed / "manifest.json").read_bytes()
    for place in range(len(content) - 1):  # the last is the end of the line
        changed = bytearray(content)
        changed[place] ^= 1
        (packed / "manifest.json").write_bytes(changed)
        with pytest.raises(BundleError, match=r"manifest\.json"):
            open_bundle(packed)


def edit(folder, **fields):
    """Change fields and sign the manifest anew, as somebody would who packs by hand."""
    manifest = json.loads((folder / "manifest.json").read_text()) | fields
    manifest["digest"] = bundle._digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json: half-written"),
        (lambda folder: (folder / "golden.npz").unlink(), "golden.npz: missing"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"x"), "model.onnx: not in the manifest"),
        (lambda folder: edit(folder, format=4), "format 4 is newer than this program's 3; update auscult"),
        (lambda folder: edit(folder, format=0), "format 0 is older than any that can be read; pack the model again"),
        (lambda folder: edit(folder, format="2"), "no format number"),
        (lambda folder: edit(folder, more=1), "unknown field `more`"),
        (lambda folder: edit(folder, files={"../x": "0"}), "outside the bundle"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_damaged_bundle_does_not_open_and_says_why(packed, damage, words):
    damage(packed)
    with pytest.raises(BundleError, match=words):
        open_bundle(packed)


def test_an_unknown_machine_is_named_beside_those_that_are_known(packed):
    with pytest.raises(BundleError, match="unknown machine valve; it knows fan_section_00, pump_section_00"):
        open_bundle(packed).machine("valve")
    with pytest.raises(BundleError, match="no --machine given; it knows"):
        open_bundle(packed).machine()


def test_packing_onto_something_that_exists_changes_nothing(packed, model_folder):
    before = (packed / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="already exists"):
        bundle.write_bundle(model_folder, packed)
    assert (packed / "manifest.json").read_bytes() == before


def test_packing_that_fails_leaves_nothing_behind(model_folder, tmp_path):
    (model_folder / "model.json").write_text('{"name": 1}')
    with pytest.raises(Exception, match=r"model\.json"):
        bundle.write_bundle(model_folder, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_packing_without_a_machine_says_what_to_run(model_folder, tmp_path):
    shutil.rmtree(model_folder / "machines")
    with pytest.raises(BundleError, match=r"run calib/fit\.py"):
        bundle.write_bundle(model_folder, tmp_path / "new")


def test_the_golden_clip_replays_as_packed(packed, capsys):
    assert check.main([str(packed)]) == 0
    assert "score of pump_section_00" in capsys.readouterr().out


def test_check_names_the_first_stage_that_differs(model_folder, tmp_path, capsys):
    from calib.golden import write_golden

    write_golden(model_folder)
    arrays = machine_file.load_arrays(model_folder / "golden.npz")
    for stage in ("output.embedding", "input.log_mel"):
        arrays[stage] = arrays[stage] + 1.0
        machine_file.save_arrays(model_folder / "golden.npz", arrays)
        bundle.write_bundle(model_folder, tmp_path / stage)
        assert check.main([str(tmp_path / stage)]) == 1
        assert f"{stage.replace('.', ' ')} differs by" in capsys.readouterr().out


def test_a_missing_bundle_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert run_command(check.main, [str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
