"""Shapes, symmetry, initial output, gradients, configuration and errors of every network."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wavelab import networks
from wavelab.errors import InvalidInput, UnknownName
from wavelab.networks.layers import FiLM, groups_for

SMALL = {"width": 8, "mults": (1, 2)}


def draw(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def awake(model, seed=1):
    """Give every parameter random values, so that what starts at zero takes part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


EVERY = {
    "unet": lambda: networks.UNet(2, 3, cond_channels=1, attention=(1,), **SMALL),
    "unet-zeros": lambda: networks.UNet(2, 3, cond_channels=1, padding="zeros", blocks=2, **SMALL),
    "unet-1d": lambda: networks.UNet(2, 3, cond_channels=1, dims=1, **SMALL),
    "unet-3d": lambda: networks.UNet(2, 3, cond_channels=1, dims=3, attention=(0, 1), heads=2, **SMALL),
    "unet-odd-channels": lambda: networks.UNet(2, 3, cond_channels=1, width=7, mults=(1, 3)),
    "unet-one-level": lambda: networks.UNet(2, 3, cond_channels=1, width=8, mults=(2,)),
    "score-net": lambda: networks.ScoreNet(2, 3, cond_channels=1, width=8),
    "score-net-dilated": lambda: networks.ScoreNet(2, 3, cond_channels=1, width=8, dilation=2),
    "score-net-3d": lambda: networks.ScoreNet(2, 3, cond_channels=1, width=8, dims=3, padding="zeros"),
}


@pytest.fixture(params=EVERY)
def model(request):
    return EVERY[request.param]()


def inputs(model, batch=2, size=8):
    space = [size] * model.config["dims"]
    return draw((batch, 2, *space)), torch.linspace(-7, 7, batch), draw((batch, 1, *space), 1)


def test_output_has_the_grid_and_starts_at_zero(model):
    x, log_noise, cond = inputs(model)
    out = model(x, log_noise, cond)
    assert out.shape == (2, 3, *x.shape[2:])
    assert torch.count_nonzero(out) == 0


@pytest.mark.parametrize("size", [(12, 8), (4, 16)])
def test_grids_need_not_be_square(size):
    out = awake(networks.UNet(1, 1, width=8, mults=(1, 1, 2)))(draw((3, 1, *size)), torch.zeros(3))
    assert out.shape == (3, 1, *size)


@pytest.mark.parametrize(
    ("name", "stride"), [("unet", 2), ("unet-1d", 2), ("unet-3d", 2), ("score-net", 1), ("score-net-dilated", 1)]
)
def test_circular_padding_commutes_with_shifts(name, stride):
    model = awake(EVERY[name]()).double()
    x, log_noise, cond = (part.double() for part in inputs(model))
    axes = tuple(range(2, x.ndim))
    shift = [stride * (i + 1) for i in range(len(axes))]
    moved = model(x.roll(shift, axes), log_noise, cond.roll(shift, axes))
    expected = model(x, log_noise, cond).roll(shift, axes)
    assert expected.std() > 1e-3
    torch.testing.assert_close(moved, expected, rtol=1e-10, atol=1e-10 * float(expected.detach().abs().max()))


def test_zero_padding_does_not_commute():
    model = awake(EVERY["unet-zeros"]()).double()
    x, log_noise, cond = (part.double() for part in inputs(model))
    moved = model(x.roll(2, 3), log_noise, cond.roll(2, 3))
    assert (moved - model(x, log_noise, cond).roll(2, 3)).abs().max() > 1e-3


def test_gradients_reach_every_parameter(model):
    awake(model)
    model(*inputs(model)).square().mean().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A convolution's bias before a normalisation with one group a channel would be dead; there is none.
    assert dead == []


@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_gradients_are_right(padding):
    model = awake(networks.UNet(1, 1, width=4, mults=(1, 2), attention=(1,), heads=1, padding=padding)).double()
    x = draw((2, 1, 4, 4)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(x, torch.zeros(2)), x, fast_mode=True)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
        assert torch.autograd.gradgradcheck(lambda x: model(x, torch.zeros(2)), x, fast_mode=True)


def test_two_steps_of_training_wake_every_parameter(model):
    x, log_noise, cond = inputs(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(4):
        optimiser.zero_grad()
        (model(x, log_noise, cond) - draw((2, 3, *x.shape[2:]), 2)).square().mean().backward()
        optimiser.step()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_samples_do_not_mix(model):
    awake(model)
    x, log_noise, cond = inputs(model, batch=3)
    together = model(x, log_noise, cond)
    alone = model(x[1:2], log_noise[1:2], cond[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-4 * float(together.detach().abs().max()))


def test_noise_level_and_condition_matter(model):
    awake(model)
    x, log_noise, cond = inputs(model)
    out = model(x, log_noise, cond)
    assert (model(x, log_noise + 0.5, cond) - out).abs().max() > 1e-3
    assert (model(x, log_noise, cond + 0.5) - out).abs().max() > 1e-3


def test_one_noise_level_serves_all(model):
    awake(model)
    x, _, cond = inputs(model)
    expected = model(x, torch.full((2,), 1.5), cond)
    torch.testing.assert_close(model(x, torch.tensor(1.5), cond), expected)
    torch.testing.assert_close(model(x, 1.5, cond), expected)


def test_configuration_survives_json(model):
    config = json.loads(json.dumps(model.config))
    again = networks.build(config)
    assert again.config == model.config == config
    again.load_state_dict(model.state_dict())
    assert networks.count(again) == networks.count(model)


def test_default_score_net_has_about_40k_parameters():
    assert networks.count(networks.ScoreNet(1, 1)) == pytest.approx(40_000, rel=0.1)
    assert networks.count(networks.ScoreNet(3, 3, cond_channels=1)) == pytest.approx(40_000, rel=0.1)


def test_count_is_of_trainable_parameters():
    model = networks.MLP(2, width=8, depth=1)
    linear = [(32, 8), (8, 8), (2, 8), (8, 8), (8, 8), (8, 2)]
    assert networks.count(model) == sum((inputs + 1) * outputs for inputs, outputs in linear)


def test_seed_gives_the_weights_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, same, other = (networks.UNet(1, 1, seed=seed, **SMALL) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.stem.weight, other.stem.weight)
    assert torch.equal(networks.build(one.config, seed=3).stem.weight, one.stem.weight)


def test_bfloat16_autocast(model):
    awake(model)
    x, log_noise, cond = inputs(model)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x, log_noise, cond)
        out.float().square().mean().backward()
    exact = model(x, log_noise, cond)
    assert (out.float() - exact).std() < 0.1 * exact.std()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_dropout_acts_in_training_only():
    model = awake(networks.UNet(1, 1, dropout=0.5, **SMALL))
    x = draw((1, 1, 8, 8))
    assert not torch.equal(model(x, 0.0), model(x, 0.0))
    model.eval()
    assert torch.equal(model(x, 0.0), model(x, 0.0))


def test_mlp_learns_the_score_of_a_gaussian():
    model = networks.MLP(2, width=32, depth=2)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        z, level = torch.randn(256, 2, generator=generator), torch.rand(256, generator=generator) * 6 - 3
        sigma = torch.sigmoid(2 * level).sqrt()[:, None]
        x = (1 - sigma**2).sqrt() * torch.randn(256, 2, generator=generator) + sigma * z
        loss = (model(x, level) - z).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # For standard normal data the best prediction of z is sigma x.
    error = (model(x, level) - sigma * x).square().mean()
    assert error < 0.02


@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (64, 16), (128, 32), (256, 32), (24, 6), (20, 5), (7, 1)])
def test_groups_divide_the_channels(channels, groups):
    assert groups_for(channels) == groups


def test_film_is_normalisation_then_scale_and_shift():
    film = awake(FiLM(8, 4))
    x, e = draw((3, 8, 5, 5)), draw((3, 4), 1)
    scale, shift = film.affine(e).chunk(2, dim=1)
    parts = x.reshape(3, 2, 4, 5, 5)
    axes = (2, 3, 4)
    normal = (parts - parts.mean(axes, True)) / (parts.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (1 + scale[..., None, None]) * normal.reshape(x.shape) + shift[..., None, None]
    torch.testing.assert_close(film(x, e), expected)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 5, 8, 8), (2,), (2, 1, 8, 8)), r"stem: x has shape \(2, 5, 8, 8\); expected \(batch, 2 channels, height"),
        (((2, 2, 8), (2,), (2, 1, 8)), r"stem: x has shape \(2, 2, 8\)"),
        (((2, 2, 8, 8), (2,), None), r"stem: cond is missing; .*cond_channels=1"),
        (((2, 2, 8, 8), (2,), (2, 1, 4, 4)), r"stem: cond has shape \(2, 1, 4, 4\); expected \(2, 1, 8, 8\)"),
        (((2, 2, 8, 8), (3,), (2, 1, 8, 8)), r"embedding: log_noise has shape \(3,\); expected \(2,\)"),
    ],
)
@pytest.mark.parametrize("name", ["unet", "score-net"])
def test_shape_errors_name_the_layer(name, shapes, message):
    x, log_noise, cond = (None if shape is None else torch.zeros(shape) for shape in shapes)
    with pytest.raises(InvalidInput, match=message):
        EVERY[name]()(x, log_noise, cond)


def test_a_condition_that_was_not_asked_for():
    with pytest.raises(InvalidInput, match=r"MLP\.stem: cond has shape \(2, 1\), but this network takes none"):
        networks.MLP(2)(torch.zeros(2, 2), 0.0, torch.zeros(2, 1))


def test_a_grid_that_cannot_be_halved_names_the_level():
    with pytest.raises(InvalidInput, match=r"UNet\.coarser\[1\] halves the grid, which is 5 x 4 at level 1"):
        networks.UNet(1, 1, width=8)(torch.zeros(1, 1, 10, 8), 0.0)


def test_a_dilation_wider_than_the_grid():
    with pytest.raises(InvalidInput, match=r"ScoreNet\.blocks: .*dilation of 4"):
        networks.ScoreNet(1, 1, dilation=2)(torch.zeros(1, 1, 2, 2), 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "reflect"}, "padding is 'reflect'; give 'circular' or 'zeros'"),
        ({"dims": 4}, "dims is 4"),
        ({"width": 0}, "width is 0; give an integer of at least 1"),
        ({"in_channels": 1.0}, "in_channels is 1.0"),
        ({"cond_channels": -1}, "cond_channels is -1; give an integer of at least 0"),
        ({"mults": ()}, "mults is"),
        ({"mults": (1, 0)}, "mults is"),
        ({"attention": (3,)}, r"attention is \(3,\).*levels of .* are 0 to 2"),
        ({"attention": (0,), "width": 6}, r"UNet\.down\[0\]\.attention: 4 heads do not divide 6 channels"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(InvalidInput, match=message):
        networks.UNet(**{"in_channels": 1, "out_channels": 1, **options})


def test_build_refuses_what_it_does_not_know():
    with pytest.raises(UnknownName, match=r"no network 'Unet'\. Did you mean 'UNet'"):
        networks.build({"class": "Unet"})
    with pytest.raises(UnknownName, match=r"no option of UNet 'widht'\. Did you mean 'width'"):
        networks.build({"class": "UNet", "in_channels": 1, "out_channels": 1, "widht": 8})
    with pytest.raises(InvalidInput, match="lacks out_channels"):
        networks.build({"class": "ScoreNet", "in_channels": 1})
    with pytest.raises(InvalidInput, match=r"model\.config"):
        networks.build({"in_channels": 1})


def test_without_gradients_the_same_and_inputs_stay(model):
    awake(model)
    x, log_noise, cond = inputs(model)
    kept = x.clone(), cond.clone()
    expected = model(x, log_noise, cond)
    with torch.no_grad():
        torch.testing.assert_close(model(x, log_noise, cond), expected)
    assert torch.equal(x, kept[0]) and torch.equal(cond, kept[1])
