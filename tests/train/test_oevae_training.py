"""What paper 3 is trained from and with: losses, conditions, made clips, batches."""

import math

import numpy as np
import pytest
import torch

from calib.fit import training_clips
from tests.train.test_oevae import CLASSES, config_of, inputs_of, network_of
from train import data
from train.draws import EveryClip, HalfAndHalf
from train.models import oevae
from train.models.base import Batch
from train.models.oevae import conditions
from train.models.oevae.objective import Objective
from train.models.oevae.smote import NEIGHBOURS, Rows, Smote
from train.models.oevae.vae import Encoder, divergence

LABELS = torch.eye(4)


def objective_of(config: oevae.Config, network: oevae.Network) -> Objective:
    torch.manual_seed(1)
    return Objective(config, network.train(), CLASSES)


def test_the_divergence_is_that_of_two_normal_distributions():
    mean, log_variance = torch.randn(2, 3, 64), torch.randn(2, 3, 64)
    wanted = torch.tensor([7.0, -2.0])
    found = divergence(mean, log_variance, wanted)
    for row in range(2):
        prior = torch.zeros(64)
        prior[:8] = wanted[row]
        normal = torch.distributions.Normal
        ours = normal(mean[row], (0.5 * log_variance[row]).exp())
        by_torch = torch.distributions.kl_divergence(ours, normal(prior, torch.ones(64))).sum(dim=1)
        torch.testing.assert_close(found[row], by_torch)
    zero = torch.zeros(1, 1, 64)
    by_hand = 0.5 * 64 * (math.e - 2.0) + 0.5 * 8 * 3.0**2  # s^2 = e; eight means three away
    assert float(divergence(zero, zero + 1.0, torch.tensor([3.0]))) == pytest.approx(by_hand, rel=1e-5)


def test_outliers_are_told_by_the_share_of_the_type():
    config = config_of(classifier=False, smote=0.0)
    network = network_of(config)
    objective, inputs = objective_of(config, network), inputs_of(config, 3)
    labels = torch.stack([LABELS[0], LABELS[3], 0.3 * LABELS[1] + 0.7 * LABELS[3]])
    found = objective.terms(network, Batch(inputs, labels))
    assert objective.vae is not None and objective.vae.outliers is not None and network.vae is not None
    with torch.no_grad():
        p = torch.sigmoid(objective.vae.outliers(network(**inputs)["segments"]))[..., 0]
    wanted = torch.tensor([1.0, 0.0, 0.3])[:, None]
    by_hand = -(wanted * p.log() + (1.0 - wanted) * (1.0 - p).log()).mean()
    torch.testing.assert_close(found["outliers"].detach(), by_hand, rtol=1e-4, atol=1e-5)


def test_the_autoencoder_is_taught_by_clips_of_the_type_alone():
    config = config_of(classifier=False, smote=0.0, outlier_exposure=False, vae_weight=1.0)
    network = network_of(config)
    objective, inputs = objective_of(config, network), inputs_of(config, 4)
    network.eval()  # so that rows have no part in one another

    def losses(rows: list[int], labels: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        batch = Batch({name: array[rows] for name, array in inputs.items()}, labels)
        return objective.terms(network, batch)["divergence"].detach()

    one = losses([0], LABELS[:1])
    torch.testing.assert_close(losses([0, 1], LABELS[[0, 3]]), one)
    torch.testing.assert_close(losses([0, 1], torch.stack([LABELS[0], 0.5 * LABELS[0] + 0.5 * LABELS[3]])), one)
    assert float(losses([1], LABELS[3:])) == 0.0


def test_conditions_are_numbers_where_the_words_are_and_lie_five_deviations_apart():
    found = conditions.coded(["car_A2_spd_28V_mic_1", "car_A1_spd_31V_mic_1", "car_B_spd_40V_mic_1"])
    assert found.shape == (3, 2)  # what is the same everywhere is no attribute
    assert found[:, 0].tolist() == [5.0, 0.0, 10.0]  # A1, A2, B in order
    torch.testing.assert_close(found[:, 1], torch.tensor([0.0, 3.0, 12.0]) * 5.0 / 3.0)
    assert conditions.coded(["w_1.5", "w_-0.5", "w_1.75"])[:, 0].tolist() == [40.0, 0.0, 45.0]
    assert conditions.coded(["a_1", "a"]).flatten().tolist() == [5.0, 0.0]  # a word that is not there is one too
    assert conditions.coded(["01", "1"]).flatten().tolist() == [0.0, 5.0]  # one number, two words
    measured = conditions.coded(["rpm_600", "rpm_601", "rpm_1400"]).flatten().tolist()
    assert measured == [0.0, 0.25, 200.0]  # a gap of a fortieth of the range, 20 rpm
    assert conditions.coded(["spd_1", "spd_1"]).shape == (2, 0) and conditions.coded([]).shape == (0, 0)


def test_mixed_clips_have_the_mixed_condition_of_one_attribute_each():
    config = config_of(classifier=False)
    heads = objective_of(config, network_of(config)).vae
    assert heads is not None
    assert heads.codes[:, 0].tolist() == [0.0, 10.0, 15.0, 0.0]
    labels = torch.stack([LABELS[0], 0.25 * LABELS[0] + 0.75 * LABELS[1]])
    assert heads.conditions(Rows(torch.zeros(2, 1, 1), labels, torch.zeros(2))).tolist() == [0.0, 7.5]
    heads.codes = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [0.0, 0.0]])
    drawn = heads.conditions(Rows(torch.zeros(1), LABELS[:1].repeat(64, 1), torch.zeros(64)))
    assert set(drawn.tolist()) == {1.0, 10.0}


def test_without_attributes_the_condition_is_the_mean_power():
    config = config_of(classifier=False, attributes=False)
    heads = objective_of(config, network_of(config)).vae
    assert heads is not None
    wave = torch.randn(2, 1000) * torch.tensor([[0.1], [0.2]])
    power = conditions.power(wave)
    found = heads.conditions(Rows(torch.zeros(2, 1, 1), LABELS[:2], power))
    assert torch.equal(found, power)
    decibels = 10.0 * np.log10(wave.square().mean(dim=1).numpy())
    np.testing.assert_allclose(found, 5.0 * decibels, rtol=1e-5)  # 5 deviations a decibel


def rows_of(count: int, labels: torch.Tensor) -> Rows:
    return Rows(torch.randn(count, 39, 224), labels, torch.arange(count, dtype=torch.float32))


def test_made_clips_lie_between_a_kept_clip_and_one_of_its_three_neighbours():
    smote = Smote(config_of(), CLASSES)
    torch.manual_seed(2)
    rows = rows_of(6, LABELS[2].repeat(6, 1))
    smote.keep(rows, torch.arange(6), range(6))
    made = smote.made(40)
    assert made is not None and made.log_mel.shape == (40, 39, 224)
    kept = rows.log_mel.flatten(1)
    distances = torch.cdist(kept, kept).fill_diagonal_(torch.inf)
    near = distances.topk(NEIGHBOURS, largest=False).indices
    for row, power in zip(made.log_mel.flatten(1), made.power, strict=True):
        fits = []
        for ours in range(6):
            for theirs in near[ours].tolist():
                line = kept[theirs] - kept[ours]
                share = (row - kept[ours]) @ line / (line @ line)
                off = (row - kept[ours] - share * line).norm() / line.norm()
                right = abs(float(ours + share * (theirs - ours) - power)) < 1e-3
                fits.append(0.0 <= share <= 1.0 and off < 1e-4 and right)
        assert any(fits)
    assert torch.equal(made.labels, LABELS[2].repeat(40, 1))


def test_clips_are_made_until_the_target_domain_is_a_fifth_of_the_source_domain():
    smote = Smote(config_of(smote=0.2), CLASSES)
    labels = LABELS[[0] * 10 + [1] * 10 + [2, 2] + [3] * 22]
    rows = rows_of(44, labels)
    found = smote(rows, torch.arange(44))
    assert len(found.labels) == 44 + 2 and torch.equal(found.log_mel[:44], rows.log_mel)
    assert torch.equal(found.labels[44:], LABELS[[2, 2]])
    again = smote(rows_of(20, labels[:20]), torch.arange(20))  # no clip of the target domain in this batch
    assert len(again.labels) == 24 and (again.labels[20:, 2] == 1.0).all()


def test_a_clip_heard_again_replaces_itself_and_the_33rd_clip_the_first():
    smote = Smote(config_of(), CLASSES)
    first = rows_of(3, LABELS[[2, 2, 2]])
    smote.keep(first, torch.tensor([7, 9, 7]), range(3))
    assert smote.clips[:3].tolist() == [7, 9, -1] and int(smote.at) == 2
    assert torch.equal(smote.log_mel[0], first.log_mel[2])
    smote.keep(rows_of(31, LABELS[[2] * 31]), torch.arange(100, 131), range(31))
    assert smote.clips[0] == 130 and smote.clips[1] == 9
    assert set(smote.state_dict()) >= {"clips", "at", "log_mel", "labels", "power"}  # a resumed run goes on with them


def test_without_a_target_domain_nothing_is_kept_or_made():
    smote = Smote(config_of(), CLASSES[:2])
    rows = rows_of(4, torch.eye(2)[[0, 1, 0, 1]])
    assert smote(rows, torch.arange(4)) is rows and smote.log_mel.numel() == 0
    config = config_of(smote=0.0)
    assert objective_of(config, network_of(config)).smote is None


def test_every_part_of_both_networks_gets_a_gradient_and_neither_the_others():
    config = config_of(smote=0.0)
    network = network_of(config)
    terms = objective_of(config, network).terms(network, Batch(inputs_of(config, 4), LABELS))
    assert set(terms) == {"classifier", "outliers", "divergence", "reconstruction"}
    terms["classifier"].backward()
    assert network.classifier is not None and network.classifier.phase is not None and network.vae is not None
    heard = [weight.grad for weight in network.classifier.parameters()]
    assert all(grad is not None for grad in heard)
    assert sum(float(w.grad.abs().sum()) for w in network.classifier.phase.parameters() if w.grad is not None) > 0.0
    assert all(weight.grad is None for weight in network.vae.parameters())
    (terms["outliers"] + terms["divergence"] + terms["reconstruction"]).backward()
    assert all(weight.grad is not None for weight in network.vae.parameters())


def test_the_classes_are_type_id_and_attributes_whatever_the_domain():
    config = config_of(vae=False)
    classes = [*CLASSES, CLASSES[0].__class__("fan", "section_00", "spd_1", "target")]
    centres = Objective(config, network_of(config).train(), classes).classifier
    assert centres is not None and centres.merging.shape == (5, 4)
    assert torch.equal(centres.merging[0], centres.merging[4])
    assert not centres.head.centres.requires_grad and centres.head.centres.shape == (4 * 16, 384)
    trained = Objective(config_of(vae=False, frozen_centres=False), network_of(config).train(), classes).classifier
    assert trained is not None and trained.head.centres.requires_grad


@pytest.mark.parametrize(
    ("switch", "gone"), [({"outlier_exposure": False}, {"outliers"}), ({"classifier": False}, {"classifier"})]
)
def test_a_switch_takes_its_loss_away(switch, gone):
    config = config_of(**switch)
    network = network_of(config)
    terms = objective_of(config, network).terms(network, Batch(inputs_of(config, 4), LABELS))
    assert {"classifier", "outliers", "divergence", "reconstruction"} - set(terms) == gone
    assert config_of(mixup=0.0).mixing() == 0.0


def test_batches_are_half_of_the_type_and_mixed_within_it(recordings):
    config, clips = config_of(mixup=1.0, training={"batch": 8, "workers": 0, "l2": 0.0}), training_clips(recordings)
    assert isinstance(config.sampling(clips), HalfAndHalf)
    assert isinstance(config.sampling([clip for clip in clips if clip.machine_type == "fan"]), EveryClip)
    classes = data.classes_of(clips, config.class_by)
    ours = torch.tensor([one.machine_type == "fan" for one in classes]).float()
    (batches, _), seen = data.loaders(clips, classes, config), 0
    for batch in batches:
        target = batch.labels @ ours
        assert target.round().sum() == 4 and ((target < 1e-6) | (target > 1 - 1e-6)).all()
        seen += int((batch.labels.max(dim=1).values < 1.0).sum())
        assert batch.clips is not None and len(set(batch.clips.tolist())) == 8
    assert seen > 0


def test_the_encoder_is_a_layer_of_256_and_one_of_64():
    assert Encoder()(torch.zeros(2, 3, 512)).shape == (2, 3, 256)
