"""Batch norms over several processes: within one process, they are torch's."""

import pytest
import torch
from torch import Tensor, nn

from train import sync_norm


@pytest.fixture
def as_halves(monkeypatch):
    """Both halves of a batch are here, one behind the other: what a process adds to is the sum of both."""
    halves: dict[str, Tensor] = {}

    def sums(own: Tensor) -> Tensor:
        return own + halves["other"]

    monkeypatch.setattr(sync_norm, "all_reduce", sums)
    return halves


@pytest.mark.parametrize(
    ("norm", "shape"), [(nn.BatchNorm1d, (12, 5)), (nn.BatchNorm1d, (12, 5, 7)), (nn.BatchNorm2d, (12, 5, 4, 3))]
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_and_gradients_of_one_process_are_those_of_torch(monkeypatch, norm, shape, momentum):
    monkeypatch.setattr(sync_norm, "all_reduce", lambda own: own)
    torch.manual_seed(0)
    plain, shared = norm(5, momentum=momentum), norm(5, momentum=momentum)
    rows, slope = -50.0 + 15.0 * torch.randn(shape), torch.randn(shape)
    found = []
    for layer in (plain, shared):
        here = rows.clone().requires_grad_()
        if layer is shared:
            with sync_norm.synchronised(nn.Sequential(layer), torch.device("cpu")):
                out = [layer(here), layer(here)][-1]
        else:
            out = [layer(here), layer(here)][-1]
        (out * slope).sum().backward()
        found.append([out.detach(), here.grad, layer.weight.grad, layer.bias.grad, *layer.state_dict().values()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # float32 of levels around -50


def test_statistics_are_those_of_the_rows_of_all_processes(as_halves):
    torch.manual_seed(0)
    rows = torch.randn(9, 4, 6) * torch.tensor([1.0, 5.0, 0.1, 2.0]).view(1, 4, 1) + 3.0
    whole = nn.BatchNorm1d(4)
    expected = whole(rows)
    for here, there in ((rows[:4], rows[4:]), (rows[4:], rows[:4]), (rows, rows[:0]), (rows[:0], rows)):
        layer = nn.BatchNorm1d(4)
        as_halves["other"] = parts(there)
        with sync_norm.synchronised(nn.Sequential(layer), torch.device("cpu")):
            out = layer(here)
        mine = expected[:4] if here is not rows and len(here) == 4 else expected[len(rows) - len(here) :]
        torch.testing.assert_close(out, mine, rtol=1e-5, atol=1e-5)  # float32
        torch.testing.assert_close(layer.running_var, whole.running_var, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.running_mean, whole.running_mean, rtol=1e-5, atol=1e-6)


def parts(rows: Tensor) -> Tensor:
    """What a process with these rows would add."""
    flat = rows.transpose(0, 1).flatten(1).double()
    count = torch.tensor([float(flat.shape[1])], dtype=torch.float64)
    return torch.cat([flat.sum(dim=1), flat.square().sum(dim=1), count])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_network_is_plain_again_afterwards(device):
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm2d(2)))
    before = {name: type(layer) for name, layer in network.named_modules()}
    names = list(network.state_dict())
    with pytest.raises(ValueError, match="on the way"), sync_norm.synchronised(network, torch.device(device)):
        assert type(network[1]) is not nn.BatchNorm1d and list(network.state_dict()) == names
        assert isinstance(network[1], nn.SyncBatchNorm) == (device == "cuda")
        raise ValueError("on the way")
    assert {name: type(layer) for name, layer in network.named_modules()} == before
    assert not hasattr(network[1], "process_group")


def test_a_norm_that_listens_takes_its_running_statistics():
    layer = nn.BatchNorm1d(2).eval()
    with sync_norm.synchronised(nn.Sequential(layer), torch.device("cpu")):
        assert torch.equal(layer(torch.ones(1, 2)), nn.BatchNorm1d(2).eval()(torch.ones(1, 2)))
