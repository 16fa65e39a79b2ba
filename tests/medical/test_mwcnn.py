"""The wavelet network: its size against the published table, the exact transform inside it, learning, bad input."""

import json

import pytest
import torch

from wavelab import networks
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical.learned import supervised
from wavelab.medical.mwcnn import MWCNN
from wavelab.training import Training, train

SMALL = [(1, 4, 1, "haar"), (2, 4, 2, "haar"), (1, 2, 3, "db2")]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(options):
    *sizes, wavelet = options
    return MWCNN(*sizes, wavelet=wavelet)


def awake(model, seed=1):
    """Give the tail random values; all the rest starts so."""
    with torch.no_grad():
        model.tail.weight.copy_(0.1 * draw(*model.tail.weight.shape, seed=seed))
    return model


def conv_count(inputs, outputs):
    return (9 * inputs + 1) * outputs


def table(channels):
    """Return (inputs, outputs, dilation) of every convolution of the published network, block by block."""
    return [
        [(channels, 64, 1)],
        [(64, 64, 2), (64, 64, 1)],
        [(256, 128, 1), (128, 128, 2), (128, 128, 1)],
        [(512, 256, 1), (256, 256, 2), (256, 256, 1)],
        [(1024, 512, 1), (512, 512, 2), (512, 512, 3), (512, 512, 3), (512, 512, 2), (512, 1024, 1)],
        [(256, 256, 2), (256, 256, 1), (256, 512, 1)],
        [(128, 128, 2), (128, 128, 1), (128, 256, 1)],
        [(64, 64, 2), (64, 64, 1)],
        [(64, channels, 1)],
    ]


def test_layers_are_those_of_the_published_network():
    with torch.device("meta"):  # shapes without memory
        model = MWCNN(channels=10, width=64, levels=3)
    blocks = [model.head, *model.down, model.middle, *reversed(model.up)]
    layers = [[(c.in_channels, c.out_channels, c.dilation[0]) for c in block.layers] for block in blocks]
    tail = model.tail
    assert [*layers, [(tail.in_channels, tail.out_channels, tail.dilation[0])]] == table(10)
    expected = sum(conv_count(inputs, outputs) for block in table(10) for inputs, outputs, _ in block)
    assert networks.count(model) == expected == 24_938_186


@pytest.mark.parametrize("options", SMALL)
def test_a_fresh_network_is_the_identity(options):
    x = draw(2, options[0], 16, 24)
    assert torch.equal(small(options)(x), x)


@pytest.mark.parametrize("options", SMALL)
def test_the_transform_inside_is_orthonormal(options):
    model, x = small(options), draw(2, 3, 16, 24).double()
    packed = model._halve(x)
    assert packed.shape == (2, 12, 8, 12)
    torch.testing.assert_close(packed.square().sum(), x.square().sum())
    torch.testing.assert_close(model._double(packed), x)


def test_packed_channels_are_the_four_haar_bands():
    x = draw(1, 2, 4, 6)
    a, c, b, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    packed = MWCNN(2, 4, 1)._halve(x)
    torch.testing.assert_close(packed[:, :2], (a + b + c + d) / 2)
    for bands, found in zip([a - b + c - d, a + b - c - d, a - b - c + d], packed[:, 2:].split(2, 1), strict=True):
        torch.testing.assert_close(found.abs(), bands.abs() / 2)  # LH, HL, HH; the signs are the wavelet's matter


def test_blocks_alone_make_the_network():
    model, x = awake(MWCNN(1, 4, 2)), draw(1, 1, 8, 8)
    x0 = model.down[0](model.head(x))
    x1 = model.down[1](model._halve(x0))
    u1 = model._double(model.middle(model._halve(x1))) + x1
    u0 = model._double(model.up[1](u1)) + x0
    torch.testing.assert_close(model(x), x + model.tail(model.up[0](u0)))


@pytest.mark.parametrize("options", SMALL)
def test_gradients_reach_every_parameter(options):
    model = awake(small(options))
    model(draw(2, options[0], 16, 16)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if not p.grad.abs().max() > 0] == []


def test_fresh_layers_keep_the_power():
    model = awake(MWCNN(1, 16, 2))
    h = model._halve(model.down[0](model.head(draw(1, 1, 64, 64))))
    out = model.middle(model._halve(model.down[1](h)))
    assert 0.1 < out.square().mean() / h.square().mean() < 10


@pytest.mark.parametrize("options", SMALL)
def test_configuration_survives_json(options):
    model = small(options)
    config = json.loads(json.dumps(model.config))
    again = networks.build(config, seed=0)
    assert again.config == model.config == config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    assert not torch.equal(networks.build(config, seed=1).head.layers[0].weight, model.head.layers[0].weight)


def test_it_learns_to_denoise(tmp_path):
    clean = torch.linspace(-1, 1, 16).expand(4, 1, 16, 16).contiguous()
    data = (clean + 0.5 * draw(4, 1, 16, 16), clean)
    model = MWCNN(1, 8, 2)
    training = Training(30, 4, 3e-3, "constant", 0, 0.0)
    train(model, supervised(), data, training, tmp_path, progress=False)
    before = (data[0] - clean).square().mean()
    assert (model(data[0]) - clean).square().mean() < before / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels is 0; give an integer of at least 1"),
        ({"width": 1.5}, "width is 1.5"),
        ({"wavelet": "bior2.2"}, r"bior2\.2 is not orthogonal; take an orthogonal wavelet"),
        ({"wavelet": "dmey"}, "dmey is not orthogonal"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(InvalidInput, match=message):
        MWCNN(**options)


def test_a_wavelet_that_does_not_exist():
    with pytest.raises(UnknownName, match=r"no wavelet 'harr'\. Did you mean 'haar'"):
        MWCNN(wavelet="harr")


def test_images_that_do_not_fit():
    model = MWCNN(1, 4, 2)
    with pytest.raises(InvalidInput, match=r"MWCNN\.head: x has shape \(1, 2, 8, 8\); expected \(batch, 1 channel,"):
        model(draw(1, 2, 8, 8))
    with pytest.raises(InvalidInput, match=r"MWCNN\.middle: x has shape \(1, 1, 8, 6\); 2 levels need sizes divisible"):
        model(draw(1, 1, 8, 6))
    with pytest.raises(InvalidInput, match="NaN"):
        model(torch.full((1, 1, 8, 8), torch.nan))
