"""Baselines of shape generation: losses that do what they say, samplers, a little learning of each."""

import pytest
import torch

from wavelab import networks
from wavelab.errors import InvalidInput
from wavelab.shapes.auto_decoder import AutoDecoder
from wavelab.shapes.gans import CodeGAN, ImplicitAutoencoder, VoxelGAN, game_loss
from wavelab.shapes.point_diffusion import PROCESS, PointDiffusion
from wavelab.training import Training, train


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _balls(count=8, size=16):
    """Scaled distances to balls of different radii."""
    axis = torch.linspace(-1, 1, size)
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).square().sum(0).sqrt()
    return torch.stack([((radius - r) / 0.3).clamp(-1, 1) for r in torch.linspace(0.3, 0.8, count)])[:, None]


def test_each_player_follows_its_own_gradient():
    """The one loss has the gradients of two separate ones."""
    game = CodeGAN(4, 3, 8)
    real, z = torch.randn(6, 4, generator=_rng(1)), torch.randn(6, 3, generator=_rng(2))
    rng = _rng(0)
    assert float(torch.rand((), generator=_rng(0))) > 0.25  # no penalty in this round
    game_loss(game.generator, game.critic, real, z, rng).backward()
    together = [p.grad.clone() for p in game.parameters()]
    softplus = torch.nn.functional.softplus
    game.zero_grad()
    fake = game.generator(z)
    (softplus(-game.critic(real)).mean() + softplus(game.critic(fake.detach())).mean()).backward()
    critic = [p.grad.clone() for p in game.critic.parameters()]
    game.zero_grad()
    softplus(-game.critic(fake)).mean().backward()
    apart = [p.grad for p in game.generator.parameters()] + critic
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b)


def test_the_penalty_flattens_the_critic():
    game = CodeGAN(4, 3, 8)
    real, z = torch.randn(6, 4, generator=_rng(1)), torch.randn(6, 3, generator=_rng(2))
    seeds = [s for s in range(40) if float(torch.rand((), generator=_rng(s))) < 0.25]
    low, high = (float(game_loss(game.generator, game.critic, real, z, _rng(seeds[0]), g).detach()) for g in (0.0, 1.0))
    real.requires_grad_()
    slope = torch.autograd.grad(game.critic(real).sum(), real)[0].square().sum(1).mean()
    assert high - low == pytest.approx(2 * float(slope), rel=1e-4)


def test_a_game_learns_a_distribution(tmp_path):
    data = 0.5 + 0.2 * torch.randn(512, 2, generator=_rng(3))
    game = CodeGAN(2, 4, 32)
    train(game, lambda m, b, g: m.loss(b, g), data, Training(400, 64, 2e-3, ema=0.99), tmp_path, progress=False)
    drawn = game.sample(500, _rng(4))
    assert (drawn.mean(0) - 0.5).abs().max() < 0.15 and 0.05 < drawn.std() < 0.4


def test_volumes_of_the_voxel_gan():
    game = VoxelGAN(16, 8, 4)
    assert game.sample(3, _rng()).shape == (3, 1, 16, 16, 16) and game.sample(3, _rng()).abs().max() <= 1
    assert game.critic(_balls(2)).shape == (2, 1)
    assert torch.isfinite(game.loss(_balls(4), _rng()))


def test_the_implicit_autoencoder_learns_balls(tmp_path):
    net = ImplicitAutoencoder(16, 8, 4, 32)
    before = float(net.loss(_balls(), _rng()).detach())
    loss = lambda m, b, g: m.loss(b, g, 512)  # noqa: E731
    train(net, loss, _balls(), Training(150, 8, 3e-3, ema=0.9), tmp_path, progress=False)
    assert float(net.loss(_balls(), _rng()).detach()) < 0.2 * before
    code = net.encoder(_balls())
    found = net.volume(code, 16)
    assert ((found < 0) == (_balls() < 0)).float().mean() > 0.93
    assert net.volume(code[:1], 24).shape == (1, 1, 24, 24, 24)


def test_the_flow_is_inverted_and_knows_its_volume():
    net = PointDiffusion(4, 16, 3)
    for layer in net.flow:
        torch.nn.init.normal_(layer[-1].weight, std=0.5, generator=_rng(5))
    code = torch.randn(1, 4, generator=_rng(6))
    w, volume = net.to_gaussian(code)
    torch.testing.assert_close(net.from_gaussian(w), code, atol=1e-5, rtol=0)
    jacobian = torch.autograd.functional.jacobian(lambda c: net.to_gaussian(c)[0][0], code)[:, 0]
    assert torch.linalg.slogdet(jacobian)[1] == pytest.approx(float(volume.detach()), abs=1e-4)


def test_point_diffusion_learns_and_samples(tmp_path):
    angle = 6.283 * torch.rand(32, 64, generator=_rng(7))
    rings = 1.4 * torch.stack([angle.cos(), angle.sin(), 0 * angle], -1)
    net = PointDiffusion(8, 32, 2)
    before = float(torch.stack([net.loss(rings, _rng(k)).detach() for k in range(8)]).mean())
    train(net, lambda m, b, g: m.loss(b, g), rings, Training(250, 16, 3e-3, ema=0.95), tmp_path, progress=False)
    after = float(torch.stack([net.loss(rings, _rng(k)).detach() for k in range(8)]).mean())
    assert after < 0.75 * before
    drawn = net.sample(2, 100, _rng(8))
    assert drawn.shape == (2, 100, 3) and drawn[..., 2].abs().mean() < 0.6 * drawn[..., 0].abs().mean()
    assert PROCESS.sigma(torch.tensor(float(PROCESS.T))) > 0.99


def test_the_auto_decoder_learns_its_table(tmp_path):
    data = _balls(), torch.arange(8)
    net = AutoDecoder(8, 16, 4, 4, weight=1e-4)
    train(net, lambda m, b, g: m.loss(b, g), data, Training(200, 8, 5e-3, ema=0.9), tmp_path, progress=False)
    found = net.decoder(net.means.weight)
    assert (found - _balls()).square().mean() < 0.25 * _balls().square().mean()
    assert net.sample(3, _rng()).shape == (3, 1, 16, 16, 16)


@pytest.mark.parametrize(
    "net", [VoxelGAN(16, 8, 4), ImplicitAutoencoder(16, 8, 4, 16), CodeGAN(4), PointDiffusion(8, 16, 2), AutoDecoder(3)]
)
def test_configurations_build_the_same_network(net):
    again = networks.build(net.config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}


@pytest.mark.parametrize("size", [4, 20, 16.0, True])
@pytest.mark.parametrize("make", [VoxelGAN, ImplicitAutoencoder, lambda size: AutoDecoder(3, size)])
def test_sizes_that_do_not_halve_to_four_are_refused(make, size):
    with pytest.raises(InvalidInput, match="power of two"):
        make(size)
