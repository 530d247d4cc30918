"""Mixup of tensors: who is mixed with whom, and with how much."""

import pytest
import torch

from train.mixup import draw_partners, draw_share, mix, partners

TYPES = torch.tensor([0, 2, 1, 0, 1, 1, 2, 0, 1, 3])  # one machine is alone of its type


def test_partners_are_of_the_same_type_in_every_row_and_each_row_is_a_partner_once():
    torch.manual_seed(0)
    for _ in range(50):
        partner = partners(TYPES)
        assert torch.equal(TYPES[partner], TYPES)
        assert torch.equal(partner.sort().values, torch.arange(len(TYPES)))


def test_partners_are_drawn_evenly_among_the_rows_of_a_type():
    torch.manual_seed(0)
    drawn = torch.stack([partners(TYPES) for _ in range(2000)])
    for place in (0, 3, 7):
        share = torch.bincount(drawn[:, place], minlength=10)[[0, 3, 7]] / 2000
        torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=0.05, rtol=0)  # 5 deviations of 0.0105


def test_vanilla_mixup_pairs_types_too():
    torch.manual_seed(0)
    partner = draw_partners(TYPES, "vanilla")
    assert not torch.equal(TYPES[partner], TYPES)
    assert torch.equal(partner.sort().values, torch.arange(len(TYPES)))


def test_without_mixup_a_row_is_its_own_partner():
    assert torch.equal(draw_partners(TYPES, "none"), torch.arange(len(TYPES)))


@pytest.mark.parametrize("kind", ["vanilla", "in_type"])
def test_mixed_labels_sum_to_1_and_are_those_of_the_mixed_sounds(kind):
    torch.manual_seed(0)
    labels, share = torch.eye(4)[TYPES], draw_share(1.0)
    partner = draw_partners(TYPES, kind)
    mixed = mix(labels, partner, share)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(len(TYPES)))
    rows = torch.randn(len(TYPES), 3, 5)
    torch.testing.assert_close(mix(rows, partner, share)[1], share * rows[1] + (1 - share) * rows[partner[1]])
    assert ((mixed > 0).sum(dim=1) > 1).any() == (kind == "vanilla")


@pytest.mark.parametrize(("alpha", "variance"), [(1.0, 1 / 12), (1.5, 1 / 16)])
def test_shares_are_of_the_beta_distribution(alpha, variance):
    torch.manual_seed(0)
    shares = torch.tensor([draw_share(alpha) for _ in range(4000)])
    assert float(shares.min()) >= 0 and float(shares.max()) <= 1
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.025)  # 5 deviations of the mean of 4,000
    assert float(shares.var()) == pytest.approx(variance, rel=0.08)
