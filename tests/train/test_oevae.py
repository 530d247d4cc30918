"""Paper 3's networks: sizes, cuts, standardisation, what is scored, and what a switch takes away."""

from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from calib.clips import Clip
from edge_runtime import features
from edge_runtime.errors import ConfigError
from tests.conftest import ROOT, hum
from tests.train.conftest import error
from train import run, settings
from train.models import featex, oevae
from train.models.base import SoundClass
from train.models.oevae import segments
from train.models.oevae.config import MEL
from train.models.oevae.vae import DOMAIN
from train.run_folder import shapes

FRAMES = 20  # 0.672 s: 39 frames of a segment's step
CUT = 16  # frames of a segment
YAML = ROOT / "train" / "configs" / "oevae.yaml"
CLASSES = [
    SoundClass("fan", "section_00", "spd_1", "source"),
    SoundClass("fan", "section_00", "spd_3", "source"),
    SoundClass("fan", "section_00", "spd_4", "target"),
    SoundClass("pump", "section_00", "", "source"),
]


def config_of(**changes: Any) -> oevae.Config:
    given = {"window_frames": FRAMES, "segment_frames": CUT, "machine_type": "fan", "training": {"l2": 0.0}, **changes}
    return msgspec.convert({"system": "oevae", **given}, oevae.Config)


def network_of(config: oevae.Config) -> oevae.Network:
    torch.manual_seed(0)
    return oevae.Network(config, shapes(config)).eval()


def inputs_of(config: oevae.Config, clips: int, gain: float = 1.0) -> dict[str, torch.Tensor]:
    """Inputs of machines of different pitch."""
    rows = [hum(config.window / 16_000, seed=at, pitch=60.0 + 20.0 * at)[: config.window] for at in range(clips)]
    return {
        name: torch.from_numpy(np.stack([features.compute((gain * row).astype(np.float32), spec) for row in rows]))
        for name, spec in config.inputs().items()
    }


def count(module: nn.Module | None) -> int:
    assert module is not None
    return sum(weights.numel() for weights in module.parameters())


def test_the_parts_have_the_sizes_of_the_paper():
    network = network_of(config_of(window_frames=311, segment_frames=122))
    assert network.vae is not None
    assert count(network.vae.resnet) == 11_170_240 == pytest.approx(11.2e6, rel=0.02)
    assert count(network.vae.encoder) == 512 * 256 + 256 + 256 * 64 + 64
    two = count(featex.Network(featex.Config(), shapes(featex.Config())))
    slopes = 7 + 2 * (1 + 8 * 2)  # a PReLU each
    assert network.classifier is not None
    assert count(network.classifier) == two + count(network.classifier.phase) - 17 + slopes
    assert (network.vae.places, network.vae.length) == ([0, 71, 143, 214, 285, 356, 428, 499], 122)


def test_cuts_overlap_evenly_and_a_window_little_longer_than_one_has_fewer():
    assert segments.starts(619, 122) == [71 * at for at in range(8)]
    assert segments.starts(122, 122) == [0] and segments.starts(124, 122) == [0, 1, 2]
    assert segments.starts(39, CUT)[-1] == 39 - CUT


@pytest.mark.parametrize(("window", "length"), [(20, 122), (20, 40)])
def test_a_window_shorter_than_a_segment_is_refused(window, length, recordings, tmp_path, capsys):
    changes = [f"window_frames={window}", f"segment_frames={length}", "hop_frames=4"]
    words = [word for change in changes for word in ("--set", change)]
    said = error(
        capsys, run.main, YAML, "--data", recordings, "--machine-type", "fan", "--out", tmp_path / "run", *words
    )
    assert f"segment_frames {length}: " in said and "0.67 s" in said and "--set segment_frames=39" in said
    assert not (tmp_path / "run").exists()


def test_segments_equal_the_network_on_each_cut_alone():
    config = config_of(classifier=False)
    network, inputs = network_of(config), inputs_of(config, 2)
    found = network(**inputs)["segments"]
    log_mel = segments.standardised(inputs["fine_log_mel"], inputs["waveform"])
    places = segments.starts(39, CUT)
    assert found.shape == (2, 8, 512) and network.vae is not None
    for at, start in enumerate(places):
        alone = network.vae.resnet(log_mel[:, start : start + CUT].transpose(1, 2)[:, None])
        torch.testing.assert_close(found[:, at], alone, rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_the_log_mel_is_that_of_the_standardised_sound():
    sound = hum(config_of().window / 16_000, seed=1)[: config_of().window] + np.float32(0.02)
    whole = torch.from_numpy(features.compute(((sound - sound.mean()) / sound.std()).astype(np.float32), MEL))
    log_mel = torch.from_numpy(features.compute(sound, MEL))
    found = segments.standardised(log_mel[None], torch.from_numpy(sound)[None])[0]
    # the mean leaks two bins, 31 Hz, far: 0.01 dB is 0.1 %, of bands 70 dB above float32's noise
    torch.testing.assert_close(found, whole, rtol=0, atol=0.01)


def test_a_clip_12_decibels_louder_gives_the_same_segments_and_latent():
    config = config_of(classifier=False)
    network = network_of(config)
    quiet, loud = (network(**inputs_of(config, 2, gain)) for gain in (0.25, 1.0))
    for name in ("segments", "latent"):
        torch.testing.assert_close(loud[name], quiet[name], rtol=1e-4, atol=1e-5)  # dB rounded to float32


def test_silence_gives_finite_outputs():
    config = config_of()
    silence = {name: torch.zeros(2, *shape) for name, shape in shapes(config).items()}
    silence["fine_log_mel"] -= 100.0
    assert all(torch.isfinite(value).all() for value in network_of(config)(**silence).values())
    assert float(segments.standardised(silence["fine_log_mel"], silence["waveform"]).abs().max()) < 1e-4


def test_the_latents_of_the_conditions_have_no_part_in_the_score():
    config = config_of(classifier=False)
    network, inputs = network_of(config), inputs_of(config, 2)
    assert network.vae is not None
    before = network(**inputs)
    means = network.vae.encoder.mean(network.vae.encoder(before["segments"]))
    torch.testing.assert_close(before["latent"], 0.5 * means[..., 8:].square().sum(dim=2).mean(dim=1))
    with torch.no_grad():
        network.vae.encoder.mean.weight[:DOMAIN] += 3.0
    assert torch.equal(network(**inputs)["latent"], before["latent"])
    with torch.no_grad():
        network.vae.encoder.mean.bias[DOMAIN] += 3.0
    assert not torch.equal(network(**inputs)["latent"], before["latent"])


@pytest.mark.parametrize(
    ("changes", "inputs", "outputs"),
    [
        ({}, {"spectrum", "stft", "phase", "fine_log_mel", "waveform"}, {"embedding", "segments", "latent"}),
        ({"vae": False}, {"spectrum", "stft", "phase"}, {"embedding"}),
        ({"classifier": False}, {"fine_log_mel", "waveform"}, {"segments", "latent"}),
        ({"vae": False, "phase": False}, {"spectrum", "stft"}, {"embedding"}),
    ],
)
def test_inputs_and_outputs_follow_what_is_switched_on(changes, inputs, outputs):
    config = config_of(**changes)
    assert set(config.inputs()) == inputs
    found = network_of(config)(**inputs_of(config, 2))
    assert set(found) == outputs
    if "embedding" in outputs:
        assert found["embedding"].shape == (2, 384 if config.phase else 256)
        torch.testing.assert_close(found["embedding"].norm(dim=1), torch.ones(2))


def test_both_networks_off_is_refused():
    with pytest.raises(ConfigError, match="both off"):
        settings.load(YAML, ["classifier=false", "vae=false"])


def test_a_scoring_of_an_output_that_is_switched_off_is_refused_before_training(recordings, tmp_path, capsys):
    asked = ["vae=false", "scoring={kind: nearest, of: segments, metric: euclidean}", f"window_frames={FRAMES}"]
    words = [word for change in [*asked, "hop_frames=4"] for word in ("--set", change)]
    command = [YAML, "--data", recordings, "--machine-type", "fan", "--out", tmp_path / "run", *words]
    said = error(capsys, run.main, *command)
    assert "scoring nearest of segments: no such output; there is embedding" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("activation", "slopes"), [("prelu", 41), ("relu", 0)])
def test_the_classifier_has_a_slope_for_each_activation_or_none(activation, slopes):
    network = network_of(config_of(vae=False, activation=activation))
    kinds = [layer for layer in network.modules() if isinstance(layer, nn.PReLU)]
    assert len(kinds) == slopes and sum(count(layer) for layer in kinds) == slopes
    assert any(isinstance(layer, nn.ReLU) for layer in network.modules()) == (not slopes)


def clip(machine_type: str, attributes: str = "", section: str = "section_00") -> Clip:
    return Clip(ROOT / "a.wav", machine_type, section, "train", "source", "normal", attributes)


def test_what_the_clips_lack_is_said():
    fans = [clip("fan", "spd_1"), clip("fan", "spd_2")]
    assert oevae.Config().missing(fans).startswith("a second machine type") and "only fan" in oevae.Config().missing(
        fans
    )
    assert oevae.Config(outlier_exposure=False).missing(fans) == ""
    assert "two attributes" in oevae.Config(outlier_exposure=False).missing(fans[:1])
    assert oevae.Config(machine_type="valve").missing([*fans, clip("pump")]).startswith("clips of valve")
    assert oevae.Config(machine_type="fan").missing([*fans, clip("pump")]) == ""


def test_a_single_machine_type_is_refused_in_one_line(recordings, tmp_path, capsys):
    (tmp_path / "dev_data").mkdir()
    (tmp_path / "dev_data" / "fan").symlink_to(recordings / "dev_data" / "fan")
    said = error(capsys, run.main, YAML, "--data", tmp_path, "--out", tmp_path / "run")
    assert "oevae needs a second machine type" in said and "--set outlier_exposure=false" in said


def test_only_machines_of_its_type_are_judged():
    config = oevae.Config().for_type("fan")
    assert config.judges("fan") and not config.judges("pump")
    assert config.optimiser_of("network.classifier.stft.norm.weight") == "adamax"
    assert config.optimiser_of("objective.classifier.head.centres") == "adamax"
    assert config.optimiser_of("network.vae.resnet.0.weight") == config.optimiser_of("objective.vae.x") == "adam"


def test_a_fusion_loses_the_parts_of_what_is_switched_off():
    classifier, vae, whole = (settings.load(YAML, words) for words in (["vae=false"], ["classifier=false"], []))
    assert classifier.scoring.of == "embedding" and len(whole.scoring.parts) == 3
    assert [part.of for part in vae.scoring.parts] == ["segments", "latent"] and vae.scoring.weights == [1.0, 1.0]
    alone = settings.load(YAML, ["vae=false", "scoring={kind: network, of: latent}"])
    assert alone.scoring.of == "latent"  # what somebody asks for is left, to be refused
