"""Paper 2: size, layers over time, losses and batches against their definitions; what it refuses."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional

from calib.clips import Clip, index
from calib.fit import fit_folder, training_clips
from edge_runtime import features
from edge_runtime.errors import ConfigError
from edge_runtime.scoring import Nearest, Probability
from export import to_onnx
from tests.conftest import ROOT, hum, write_wav
from tests.train.conftest import error
from train import data, run, run_folder, settings
from train.draws import Draws, EveryClip, PerClass
from train.models import tdnn
from train.models.base import Batch, SoundClass, Training
from train.models.tdnn.network import statistics
from train.run_folder import describe, shapes

FRAMES = 24  # 0.8 s
CONFIGS = ROOT / "train" / "configs"
# Two sections, the first under two sets of attributes.
CLASSES = [SoundClass("fan", *words, None) for words in (("section_00", "a"), ("section_00", "b"), ("section_01", "a"))]


def network_of(classes: int = 2, **changes: Any) -> tuple[tdnn.Config, tdnn.Network]:
    config = tdnn.Config(**{"window_frames": FRAMES, **changes})
    torch.manual_seed(0)
    return config, tdnn.Network(config, shapes(config), classes).eval()


def batch_of(config: tdnn.Config) -> Batch:
    """Two clips of each class, of different pitch."""
    rows = [hum(config.window / 16_000, seed=at, pitch=50.0 + 17.0 * at) for at in range(6)]
    specs = config.inputs().items()
    inputs = {name: torch.from_numpy(np.stack([features.compute(row, spec) for row in rows])) for name, spec in specs}
    return Batch(inputs, torch.eye(3).repeat(2, 1))


def terms(**changes: Any) -> dict[str, torch.Tensor]:
    config, network = network_of(**changes)
    objective = tdnn.Objective(config, network.train(), CLASSES)
    return {name: loss.detach() for name, loss in objective.terms(network, batch_of(config)).items()}


@pytest.mark.parametrize(("tgram", "parameters", "macs"), [(False, 4.7e6, None), (True, 5.35e6, 1.1e9)])
def test_the_network_has_the_size_of_paper_2(tgram, parameters, macs):
    config, network = network_of(6, window_frames=features.WINDOW_FRAMES, tgram=tgram)
    model = describe("", config, network, [])
    assert model.parameters == pytest.approx(parameters, rel=0.02)
    assert macs is None or model.macs == pytest.approx(macs, rel=0.02)
    assert model.outputs == {"embedding": [512], "logits": [6]}
    assert set(model.inputs) == ({"log_mel", "waveform"} if tgram else {"log_mel"})


def test_a_frame_hears_seven_frames_on_either_side_and_as_many_come_out_as_go_in():
    _, network = network_of()
    x = torch.randn(1, 256, 40, requires_grad=True)
    frames = network.frames(x)
    assert frames.shape == (1, 1500, 40)
    frames[0, :, 20].sum().backward()
    assert x.grad is not None
    heard = x.grad.abs().sum(dim=(0, 1)).nonzero().flatten().tolist()
    assert heard == list(range(20 - 7, 20 + 8))  # 2 + 2 + 3: contexts of the three first layers


def test_pooling_is_mean_and_deviation_over_time_and_has_a_slope_where_nothing_varies():
    x = torch.randn(2, 3, 50)
    # the floor of 1e-5 below the root of a variance of about 1
    torch.testing.assert_close(statistics(x), torch.cat([x.mean(2), x.std(2, correction=0)], 1), rtol=1e-4, atol=1e-4)
    still = torch.ones(1, 3, 50, requires_grad=True)
    statistics(still).sum().backward()
    assert still.grad is not None and torch.isfinite(still.grad).all()


def test_the_levels_of_the_bands_do_not_matter_once_their_statistics_are_known():
    config, network = network_of()
    inputs = batch_of(config).inputs
    found = []
    for shift in (0.0, 20.0):
        _, network = network_of()
        shifted = {**inputs, "log_mel": inputs["log_mel"] + shift}
        network.train()(**shifted)  # one batch: its statistics are those of the whole training
        found.append(network.norm.eval()(shifted["log_mel"].transpose(1, 2)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-3)  # float32 of levels of -60 dB, over deviations
    assert float(found[0].mean().abs()) < 1e-3 and float(found[0].std()) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize(("switch", "loss"), [("triplet", "triplet"), ("attributes", "attributes")])
def test_a_switch_takes_its_loss_away(switch, loss):
    assert set(terms()) == {"sections", "triplet", "attributes"}
    assert set(terms()) - set(terms(**{switch: False})) == {loss}


def test_logits_stand_for_sections_and_the_second_layer_for_attribute_classes():
    config, network = network_of()
    objective = tdnn.Objective(config, network, CLASSES)
    batch = batch_of(config)
    outputs, losses = network(**batch.inputs), objective.terms(network, batch)
    sections = torch.tensor([0, 0, 1, 0, 0, 1])
    torch.testing.assert_close(losses["sections"], functional.cross_entropy(outputs["logits"], sections))
    assert objective.attributes is not None and objective.attributes.out_features == 3
    attributes = objective.attributes(outputs["embedding"])
    torch.testing.assert_close(losses["attributes"], functional.cross_entropy(attributes, torch.arange(3).repeat(2)))
    merged = data.merged(CLASSES[::-1], config)
    assert [(one.section, one.attributes) for one in merged] == [("section_00", ""), ("section_01", "")]
    assert tdnn.Objective(config, network, CLASSES[::-1]).sections.tolist() == [[0, 1], [1, 0], [1, 0]]


def test_all_losses_weigh_the_same():
    config, network = network_of()
    objective = tdnn.Objective(config, network, CLASSES)
    (loss,) = objective.steps(network, batch_of(config))
    torch.testing.assert_close(loss, sum(objective.terms(network, batch_of(config)).values()))


def clip(section: str, attributes: str = "", at: int = 0, domain: str = "source") -> Clip:
    file = ROOT / f"{section}_{attributes}_{at}.wav"
    return Clip(file, "fan", section, "train", domain, "normal", attributes)


def test_a_batch_is_p_sections_of_k_clips():
    clips = [clip(f"section_0{section}", "a", at) for section in range(3) for at in range(5)]
    config = tdnn.Config(clips_per_class=4, training=Training(batch=8))
    sampling = config.sampling(clips)
    assert isinstance(sampling, PerClass)
    draws = list(Draws(len(clips), 8, 0, True, sampling))
    for _, places in draws:
        heard = [clips[place].section for place in places]
        assert len(set(heard)) == 2 and all(heard.count(section) == 4 for section in set(heard))
    assert isinstance(tdnn.Config(triplet=False).sampling(clips), EveryClip)


def test_the_domain_has_no_part_in_an_attribute_class():
    clips = [clip("section_00", "a"), clip("section_00", "a", 1, "target"), clip("section_00", "b")]
    assert len(data.classes_of(clips, tdnn.Config.class_by)) == 2


def test_what_the_clips_lack_is_said():
    plain = [clip(f"section_0{section}", at=at) for section in range(2) for at in range(2)]
    told = [clip(f"section_0{section}", "spd_1", at) for section in range(2) for at in range(2)]
    assert tdnn.Config().missing(told) == ""
    assert "only fan_section_00" in tdnn.Config().missing(told[:2])
    assert "fan_section_01 has one; train without distances: --set triplet=false" in tdnn.Config().missing(told[:3])
    assert tdnn.Config(triplet=False).missing(told[:3]) == ""
    assert "--set attributes=false" in tdnn.Config().missing(plain)
    assert tdnn.Config(attributes=False).missing(plain) == ""


@pytest.mark.parametrize("batch", [20, 8])
def test_a_batch_that_cannot_hold_p_by_k_is_refused_with_both_numbers(batch):
    with pytest.raises(ConfigError, match=rf"training.batch {batch} .*clips_per_class 8.*from 16 on"):
        settings.load(CONFIGS / "tdnn_edge.yaml", [f"training.batch={batch}"])
    assert settings.load(CONFIGS / "tdnn_edge.yaml", [f"training.batch={batch}", "triplet=false"])


def test_data_without_attributes_are_refused_in_one_line(tmp_path, capsys):
    for section in ("00", "01"):
        for at in range(2):
            name = f"section_{section}_source_train_normal_{at:04d}.wav"
            write_wav(tmp_path / "dev_data" / "fan" / "train" / name, hum(0.85, seed=at))
    words = ["--data", tmp_path, "--out", tmp_path / "run", "--set", f"window_frames={FRAMES}", "--set", "hop_frames=4"]
    said = error(capsys, run.main, CONFIGS / "tdnn_edge.yaml", *words)
    assert "tdnn_edge needs attributes of the clips, and here are none" in said and "--set attributes=false" in said


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Two sections of one type under two speeds, of different pitch; 8 training clips each."""
    root = tmp_path_factory.mktemp("recordings")
    for section, pitch in (("00", 60.0), ("01", 95.0)):
        for at in range(10):
            part, speed = ("train" if at < 8 else "test"), 1 + at % 2
            name = f"section_{section}_source_{part}_normal_{at:04d}_spd_{speed}.wav"
            write_wav(root / "dev_data" / "fan" / part / name, hum(0.85, seed=at, pitch=pitch * 1.2**speed))
    return root


def test_both_scores_of_the_paper_run_on_the_same_network(recordings, tmp_path):
    changes = [f"window_frames={FRAMES}", "hop_frames=4", "training.batch=8", "clips_per_class=4", "training.workers=0"]
    words = [word for change in [*changes, "training.epochs=2"] for word in ("--set", change)]
    yaml, folder = str(CONFIGS / "tdnn_edge.yaml"), tmp_path / "run"
    assert run.main([yaml, "--data", str(recordings), "--out", str(folder), *words]) == 0
    trained = run_folder.load_run(folder)
    assert trained.model.classes == ["fan_section_00", "fan_section_01"]
    for scoring in (Probability(form="odds"), Nearest(metric="cosine", references="windows")):
        out = tmp_path / type(scoring).__name__
        model = msgspec.structs.replace(trained.model, scoring=scoring)
        assert to_onnx.export(trained.network, model, index(recordings), out).equal
        machines = fit_folder(out, training_clips(recordings), 0.01, 0)
        assert sorted(machines) == ["fan_section_00", "fan_section_01"]
        assert all(np.isfinite(machine.threshold) for machine in machines.values())
