"""ArcFace, CORAL, Poly-1, the focal loss and batch-hard triplets against their definitions."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from train.metric_losses import ArcFace, batch_hard, coral, covariance, cross_entropy, focal, poly, with_margin

MARGIN = 0.7  # rad


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [6, 5] and one-hot labels."""
    torch.manual_seed(0)
    return 3.0 * torch.randn(6, 5), torch.eye(5)[torch.tensor([0, 1, 2, 3, 4, 0])]


def test_the_logit_of_the_true_class_is_the_cosine_of_the_angle_and_the_margin():
    torch.manual_seed(0)
    head = ArcFace(8, 5, MARGIN, scale=30.0).double()
    embeddings, labels = torch.randn(64, 8).double(), torch.eye(5)[torch.arange(64) % 5].double()
    angles = torch.acos(functional.cosine_similarity(embeddings[:, None], head.directions[None], dim=2))
    expected = torch.cos(angles + MARGIN * labels)
    plain = angles < math.pi - MARGIN
    assert plain.sum() > 300 and not plain.all()
    logits = head.logits(embeddings, labels) / 30.0
    # float64; the greatest error is the floor of 1e-6 below the root, for an angle below a thousandth: none here
    torch.testing.assert_close(logits[plain], expected[plain], rtol=0, atol=1e-9)
    torch.testing.assert_close(logits[labels == 0], torch.cos(angles)[labels == 0], rtol=0, atol=1e-9)


def test_a_greater_angle_never_has_a_greater_logit():
    angles = torch.linspace(0, math.pi, 100_001, dtype=torch.float64)
    logits = with_margin(torch.cos(angles), MARGIN)
    assert (logits.diff() <= 1e-12).all()
    beyond = angles > math.pi - MARGIN
    assert float(logits[beyond].max()) < -1.0 <= float(logits[~beyond].min()) + 1e-9
    assert not (torch.cos(angles + MARGIN).diff() <= 0).all()  # without the second form it would


def test_the_margin_has_a_gradient_at_every_angle():
    cosines = torch.tensor([-1.0, -1.0 + 1e-7, 0.0, 1.0 - 1e-7, 1.0], requires_grad=True)
    with_margin(cosines, MARGIN).sum().backward()
    assert cosines.grad is not None and torch.isfinite(cosines.grad).all() and cosines.grad.abs().max() < 1e3


def test_a_scaled_embedding_has_the_same_loss_and_an_empty_one_a_finite_loss():
    head, embeddings, labels = ArcFace(8, 5), torch.randn(4, 8), torch.eye(5)[:4]
    # float32 logits of up to 30: 1e-5 of them
    torch.testing.assert_close(head(7.0 * embeddings, labels), head(embeddings, labels), rtol=1e-5, atol=0)
    assert torch.isfinite(head(torch.zeros(4, 8), labels))


def test_coral_of_identical_batches_is_zero():
    rows = torch.randn(10, 6)
    assert float(coral(rows, rows)) == 0.0
    assert float(coral(rows, rows + 3.0)) < 1e-10  # a shift has no covariance; float32 squares of 1e-6
    assert float(coral(rows, 2.0 * rows)) > 1e-3


def test_coral_is_the_squared_difference_of_covariances_over_four_squared_dimensions():
    torch.manual_seed(0)
    a, b = torch.randn(10, 6).double(), torch.randn(13, 6).double() * 2
    torch.testing.assert_close(covariance(a), torch.from_numpy(np.cov(a.numpy(), rowvar=False)))
    expected = ((np.cov(a.numpy(), rowvar=False) - np.cov(b.numpy(), rowvar=False)) ** 2).sum() / (4 * 36)
    assert float(coral(a, b)) == pytest.approx(expected)


def test_cross_entropy_is_that_of_torch(batch):
    logits, labels = batch
    torch.testing.assert_close(cross_entropy(logits, labels), functional.cross_entropy(logits, labels.argmax(1)))
    torch.testing.assert_close(
        cross_entropy(logits, labels.flip(0) / 2 + labels / 2),
        functional.cross_entropy(logits, labels.flip(0) / 2 + labels / 2),
    )


def test_poly_adds_what_the_true_class_lacks_to_be_certain(batch):
    logits, labels = batch
    lacking = 1.0 - torch.softmax(logits, dim=1)[labels == 1]
    torch.testing.assert_close(poly(logits, labels), cross_entropy(logits, labels) + lacking.mean())
    torch.testing.assert_close(poly(logits, labels, epsilon=0.0), cross_entropy(logits, labels))


def test_focal_weighs_each_clip_by_what_is_lacking(batch):
    logits, labels = batch
    p = torch.softmax(logits, dim=1)[labels == 1]
    torch.testing.assert_close(focal(logits, labels), (-0.25 * (1 - p) ** 2 * p.log()).mean())
    torch.testing.assert_close(focal(logits, labels, alpha=1.0, gamma=0.0), cross_entropy(logits, labels))


@pytest.mark.parametrize("loss", [cross_entropy, poly, focal])
def test_a_certain_and_true_classifier_has_no_loss_and_extreme_logits_a_finite_one(loss):
    labels = torch.eye(3)
    assert float(loss(1e4 * labels, labels)) == pytest.approx(0.0, abs=1e-6)
    logits = (-1e4 * labels).requires_grad_()
    loss(logits, labels).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


# On a line: 0 and 3 of the first class, 4 and 10 of the second; the rest is counted by hand.
LINE, TWO = torch.tensor([[0.0], [3.0], [4.0], [10.0]]), torch.tensor([0, 0, 1, 1])
GAPS = [3 - 4, 3 - 1, 6 - 1, 6 - 7]  # farthest of the own class less nearest of the other


def test_a_batch_hard_triplet_is_the_farthest_of_the_class_and_the_nearest_of_another():
    hinges = [max(0.0, 0.3 + gap) for gap in GAPS]
    assert float(batch_hard(LINE, TWO, 0.3)) == pytest.approx(sum(hinges) / 4, rel=1e-6)  # float32
    soft = [math.log1p(math.exp(gap)) for gap in GAPS]
    assert float(batch_hard(LINE, TWO, None)) == pytest.approx(sum(soft) / 4, rel=1e-6)


def test_distances_of_triplets_are_euclidean_in_all_dimensions():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 12.0], [5.0, 12.0]])
    gaps = [5 - 12, 5 - math.hypot(2, 8), 5 - math.hypot(3, 8), 5 - math.hypot(2, 8)]
    expected = sum(max(0.0, 9.0 + gap) for gap in gaps) / 4
    assert float(batch_hard(rows, TWO, 9.0)) == pytest.approx(expected, rel=1e-6)  # float32


def test_a_clip_alone_in_its_class_is_another_and_no_anchor():
    with_one = batch_hard(torch.cat([LINE, torch.tensor([[3.5]])]), torch.tensor([0, 0, 1, 1, 2]), 0.3)
    gaps = [3 - 3.5, 3 - 0.5, 6 - 0.5, 6 - 6.5]
    assert float(with_one) == pytest.approx(sum(max(0.0, 0.3 + gap) for gap in gaps) / 4, rel=1e-6)  # float32
    assert float(batch_hard(LINE, torch.zeros(4), 0.3)) == 0.0  # one class: nothing to be far from
    assert float(batch_hard(LINE, torch.arange(4), 0.3)) == 0.0


@pytest.mark.parametrize("margin", [0.3, None])
def test_embeddings_that_are_equal_have_a_finite_gradient(margin):
    rows = torch.ones(4, 8, requires_grad=True)
    loss = batch_hard(rows, TWO, margin)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.3 if margin else math.log(2.0))
    assert rows.grad is not None and torch.isfinite(rows.grad).all()
