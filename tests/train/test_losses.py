"""SCAdaCos, mixup, StatEx and FeatEx against their definitions."""

import math

import numpy as np
import pytest
import torch

from train import augment
from train.losses import SubClusterAdaCos, adapted_scale, soft_cross_entropy


def soft_labels(rows: int, classes: int) -> torch.Tensor:
    """[rows, classes], each row a mixture of two classes."""
    share = torch.rand(rows, 1)
    return share * one_hot(rows, classes) + (1 - share) * one_hot(rows, classes)


def one_hot(rows: int, classes: int) -> torch.Tensor:
    return torch.eye(classes)[torch.randint(classes, (rows,))]


@pytest.fixture
def head() -> SubClusterAdaCos:
    torch.manual_seed(0)
    return SubClusterAdaCos(dimensions=8, classes=5, sub_clusters=3)


def test_the_probabilities_of_all_classes_sum_to_one(head):
    probabilities = head.probabilities(head.cosines(torch.randn(6, 8)))
    assert probabilities.shape == (6, 5)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))


def test_a_class_has_the_softmax_of_its_own_centres(head):
    cosines = torch.rand(2, 15) * 2 - 1
    shares = np.exp(float(head.scale) * cosines.double().numpy())
    expected = (shares / shares.sum(1, keepdims=True))[:, 3:6].sum(1)
    # float32 softmax of 15 logits: 1e-5 is a hundred roundings
    np.testing.assert_allclose(head.probabilities(cosines)[:, 1].numpy(), expected, rtol=1e-5)


def test_the_first_scale_comes_from_the_number_of_centres(head):
    assert float(head.scale) == pytest.approx(math.sqrt(2) * math.log(5 * 3 - 1), rel=1e-6)


def test_the_next_scale_is_the_formula_by_hand():
    cosines = torch.tensor([[0.5, -0.2], [0.1, 0.9]])
    mean = (math.exp(3 * 0.5) + math.exp(-3 * 0.2) + math.exp(3 * 0.1) + math.exp(3 * 0.9)) / 2
    expected = math.log(mean) / math.cos(math.pi / 4)
    assert float(adapted_scale(cosines, torch.tensor(3.0))) == pytest.approx(expected, rel=1e-6)  # float32


def test_a_large_scale_does_not_overflow():
    assert torch.isfinite(adapted_scale(torch.ones(4, 100), torch.tensor(1e4)))


def test_only_training_moves_the_scale(head):
    before = float(head.scale)
    head.eval()(torch.randn(4, 8), one_hot(4, 5))
    assert float(head.scale) == before
    head.train()(torch.randn(4, 8), one_hot(4, 5))
    assert float(head.scale) != before


@pytest.mark.parametrize("trainable", [True, False])
def test_only_trainable_centres_have_a_gradient(trainable):
    head = SubClusterAdaCos(8, 5, 3, trainable=trainable)
    embeddings = torch.randn(4, 8, requires_grad=True)
    head(embeddings, one_hot(4, 5)).backward()
    assert (head.centres.grad is not None) == trainable
    assert embeddings.grad is not None


def test_the_loss_does_not_depend_on_the_length_of_an_embedding(head):
    head.eval()
    embeddings, labels = torch.randn(4, 8), one_hot(4, 5)
    torch.testing.assert_close(head(embeddings, labels), head(7 * embeddings, labels))


def test_soft_cross_entropy_of_certain_labels_is_the_log_of_their_probabilities():
    loss = soft_cross_entropy(torch.tensor([[0.5, 0.5], [0.25, 0.75]]), torch.eye(2))
    assert float(loss) == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2, rel=1e-6)  # float32


def test_mixup_mixes_sound_and_labels_by_the_same_share():
    random = np.random.default_rng(0)
    sound = random.standard_normal((5, 100)).astype(np.float32)
    labels = np.eye(5, dtype=np.float32)
    mixed, shares = augment.mixed(sound, labels, augment.draw_shares(len(sound), 1.0, np.random.default_rng(1)))
    assert mixed.dtype == shares.dtype == np.float32
    for row in (0, 1, 3, 4):  # row 2 is its own partner
        share = shares[row, row]
        assert 0 < share < 1 and shares[row, 4 - row] == pytest.approx(1 - share, abs=1e-6)  # float32
        np.testing.assert_allclose(mixed[row], share * sound[row] + (1 - share) * sound[4 - row], atol=1e-6)
    assert len({float(shares[row, row]) for row in (0, 1, 3, 4)}) == 4, "every clip draws its own share"


def test_mixup_of_probability_zero_changes_nothing():
    sound, labels = np.ones((3, 4), np.float32), np.eye(3, dtype=np.float32)
    mixed, shares = augment.mixed(sound, labels, augment.draw_shares(len(sound), 0.0, np.random.default_rng(0)))
    assert np.array_equal(mixed, sound) and np.array_equal(shares, labels)


def test_statex_of_a_clip_with_itself_returns_the_clip():
    stft = torch.rand(1, 20, 513).repeat(2, 1, 1)
    torch.testing.assert_close(augment.exchange_statistics(stft), stft, atol=1e-5, rtol=1e-5)  # float32, 513 bins


def test_statex_of_silence_is_finite():
    assert torch.isfinite(augment.exchange_statistics(torch.zeros(2, 4, 16))).all()


def test_statex_gives_every_frame_the_statistics_of_the_partners_frame():
    stft = torch.rand(3, 20, 64) * torch.tensor([1.0, 5.0, 9.0])[:, None, None]
    exchanged = augment.exchange_statistics(stft)
    for statistic in (torch.mean, torch.std):
        torch.testing.assert_close(statistic(exchanged, dim=2), statistic(stft, dim=2).flip(0), rtol=1e-4, atol=1e-5)


def test_featex_takes_the_partners_embedding():
    embeddings, labels = torch.randn(4, 8), one_hot(4, 3)
    assert torch.equal(augment.featex(embeddings, labels, 1.0)[0], embeddings.flip(0))
    assert torch.equal(augment.featex(embeddings, labels, 0.0)[0], embeddings)


def test_labels_of_an_exchange_are_in_the_block_of_what_gave_them():
    labels = torch.eye(2)
    blocks = augment.exchange_labels(labels, torch.tensor([False, True]))
    assert blocks.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0]]


def test_mixed_labels_sum_to_one_in_every_block_form():
    torch.manual_seed(0)
    hard = one_hot(32, 5)
    sound = np.zeros((32, 4), np.float32)
    mixed = torch.from_numpy(
        augment.mixed(sound, hard.numpy(), augment.draw_shares(len(sound), 0.5, np.random.default_rng(0)))[1]
    )
    of_statistics = augment.statex(torch.rand(32, 3, 8), mixed, 0.5)[1]
    of_halves = augment.featex(torch.rand(32, 8), of_statistics, 0.5)[1]
    for labels, classes in ((mixed, 5), (of_statistics, 15), (of_halves, 45)):
        assert labels.shape == (32, classes)
        torch.testing.assert_close(labels.sum(dim=1), torch.ones(32))
    assert (of_halves > 0).any(dim=0).view(9, 5).any(dim=1).sum() == 9, "all nine blocks occur in 32 clips"


def test_every_clip_is_exchanged_or_not_on_its_own():
    torch.manual_seed(0)
    embeddings = torch.arange(400.0)[:, None]
    exchanged = (augment.featex(embeddings, torch.ones(400, 1), 0.5)[0] != embeddings).sum()
    assert 160 < exchanged < 240  # four standard deviations of a fair coin about 200
