"""Periodic continuation against torch's own circular padding."""

import pytest
import torch
import torch.nn.functional as F

from wavelab.networks.layers import channels_last, conv
from wavelab.networks.periodic import Fold, wrap

GRIDS = {1: (7,), 2: (5, 6), 3: (4, 3, 5)}


def draw(dims, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, *GRIDS[dims], dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("amount", [1, 2, 3])
@pytest.mark.parametrize("dims", GRIDS)
def test_as_torch_pads(dims, amount, last):
    x = draw(dims)
    expected = F.pad(x, (amount,) * (2 * dims), mode="circular")
    out = wrap(channels_last(x) if last else x, amount, dims)
    assert torch.equal(out, expected)
    assert (out.stride(1) == 1) == (last and dims > 1)


@pytest.mark.parametrize("dims", GRIDS)
def test_fold_is_the_transpose(dims):
    x = draw(dims)
    y = torch.randn(wrap(x, 2, dims).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((wrap(x, 2, dims) * y).sum(), (x * Fold.apply(y, 2, dims)).sum())


@pytest.mark.parametrize("dims", GRIDS)
def test_derivatives_of_both_orders(dims):
    x = draw(dims)[:1, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: wrap(x, 2, dims).sin(), x)
    assert torch.autograd.gradgradcheck(lambda x: wrap(x, 2, dims).sin(), x)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("dims", GRIDS)
def test_convolution_is_torchs_circular_one(dims, dilation, last):
    ours = conv(dims, 3, 4, 3, "circular", dilation).double()
    kind = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dims]
    peer = kind(3, 4, 3, padding=dilation, dilation=dilation, padding_mode="circular").double()
    peer.load_state_dict(ours.state_dict())
    x, same = draw(dims).requires_grad_(), draw(dims).requires_grad_()
    out, expected = ours(channels_last(x) if last else x), peer(same)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, same.grad)
    torch.testing.assert_close(ours.weight.grad, peer.weight.grad)
