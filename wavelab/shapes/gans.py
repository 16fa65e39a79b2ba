r"""Two baselines that play a game: Voxel-GAN on distance volumes, IM-GAN on the codes of an implicit auto-encoder.

Both train by one loss in :func:`wavelab.training.train`: generator and critic move at once, each along its own gradient
only, and a penalty on the slope of the critic at real data keeps the game stable.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from wavelab.diffusion.times import normal
from wavelab.errors import InvalidInput
from wavelab.networks.base import Network, seeded


def game_loss(
    generator_net: nn.Module, critic: nn.Module, real: Tensor, z: Tensor, rng: torch.Generator, gamma: float = 1.0
) -> Tensor:
    r"""Return one loss whose gradients are those of both players of a GAN.

    .. math::
        \mathbb E\,\zeta(-D(x))+\mathbb E\,\zeta(D(\bar G(z)))+\tfrac\gamma2\mathbb E\|\nabla D(x)\|^2
        +\mathbb E\,\zeta(-\bar D(G(z))),\qquad\zeta(u)=\log(1+e^u)

    A bar stands over the player whose weights are held fixed. The penalty is taken in every fourth round on average,
    at four times its weight.

    Source:
        Goodfellow et al. (2014), Generative adversarial nets; Mescheder, Geiger & Nowozin (2018), Which training
        methods for GANs do actually converge?
    """
    penalised = float(torch.rand((), generator=rng, device=rng.device)) < 0.25
    real = real.detach().requires_grad_(penalised)
    fake, logit = generator_net(z), critic(real)
    loss = F.softplus(-logit).mean() + F.softplus(critic(fake.detach())).mean()
    if penalised:
        slope = torch.autograd.grad(logit.sum(), real, create_graph=True)[0]
        loss = loss + 4 * gamma / 2 * slope.square().flatten(1).sum(1).mean()
    frozen = {name: value.detach() for name, value in critic.named_parameters()}
    return loss + F.softplus(-functional_call(critic, frozen, (fake,))).mean()


class VoxelGAN(Network):
    """A GAN of distance volumes: transposed convolutions from a code, convolutions to a logit.

    Args:
        size: points a side of the volumes, a power of two of at least 8.
        latent: length of the code.
        width: channels at the finest level.
        seed: what the initial weights are drawn from.

    Source:
        Kleineberg, Fey & Weichert (2020), Adversarial generation of continuous implicit shape representations; the
        network follows Wu et al. (2016), 3D-GAN.
    """

    def __init__(self, size: int = 32, latent: int = 64, width: int = 24, seed: int = 0) -> None:
        """Build both players."""
        super().__init__(self.chosen(locals()))
        widths = [width * 2**k for k in range(halvings(size))]
        with seeded(seed):
            self.generator = nn.Sequential(
                nn.Linear(latent, widths[-1] * 4**3),
                nn.Unflatten(1, (widths[-1], 4, 4, 4)),
                *(layer for a, b in _down(widths) for layer in _grow(a, b)),
                *_grow(widths[0], 1, last=True),
            )
            self.critic = nn.Sequential(
                *(layer for a, b in zip([1, *widths[:-1]], widths) for layer in _shrink(a, b)),
                nn.Flatten(),
                nn.Linear(widths[-1] * 4**3, 1),
            )

    def loss(self, batch: Tensor, rng: torch.Generator) -> Tensor:
        """Return the loss of a batch of volumes, scaled to [-1, 1]."""
        z = normal(batch.new_empty(len(batch), self.config["latent"]), rng)
        return game_loss(self.generator, self.critic, batch, z, rng)

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw volumes ``(count, 1, size, size, size)``, within [-1, 1]."""
        z = normal(next(self.parameters()).new_empty(count, self.config["latent"]), rng)
        return torch.cat([self.generator(part) for part in z.split(16)]).clamp(-1, 1)


class ImplicitAutoencoder(Network):
    """A volume to a code, and a code with a point to the distance there.

    Args:
        size: points a side of the volumes, a power of two of at least 8.
        latent: length of the code.
        width: channels at the finest level of the encoder.
        hidden: units a layer of the decoder.
        seed: what the initial weights are drawn from.

    Source:
        Chen & Zhang (2019), Learning implicit fields for generative shape modeling (IM-NET).
    """

    def __init__(self, size: int = 32, latent: int = 64, width: int = 16, hidden: int = 256, seed: int = 0) -> None:
        """Build encoder and decoder."""
        super().__init__(self.chosen(locals()))
        widths = [width * 2**k for k in range(halvings(size))]
        with seeded(seed):
            self.encoder = nn.Sequential(
                *(layer for a, b in zip([1, *widths[:-1]], widths) for layer in _shrink(a, b)),
                nn.Flatten(),
                nn.Linear(widths[-1] * 4**3, latent),
            )
            self.codes = nn.ModuleList([nn.Linear(latent, hidden) for _ in range(4)])  # every layer sees code and point
            self.places = nn.ModuleList([nn.Linear(3, hidden, bias=False) for _ in range(4)])
            self.layers = nn.ModuleList([nn.Linear(hidden, hidden, bias=False) for _ in range(3)])
            self.out = nn.Linear(hidden, 1)

    def decode(self, code: Tensor, points: Tensor) -> Tensor:
        """Return scaled distances ``(batch, n)`` of codes at points ``(batch, n, 3)`` in [-1, 1]."""
        given = [of_code(code)[:, None] + of_place(points) for of_code, of_place in zip(self.codes, self.places)]
        h = F.leaky_relu(given[0], 0.02)
        for layer, more in zip(self.layers, given[1:]):
            h = h + F.leaky_relu(layer(h) + more, 0.02)
        return torch.tanh(self.out(h))[..., 0]

    def loss(self, batch: Tensor, rng: torch.Generator, points: int = 1024) -> Tensor:
        """Return the squared error at random grid points of scaled volumes, most of them near the surface."""
        flat, count = batch.flatten(1), min(points, batch[0].numel())
        weight = (flat.abs() < 0.999).float() + 0.05
        chosen = torch.multinomial(weight, count, generator=rng)
        axis = torch.linspace(-1, 1, self.config["size"], device=batch.device)
        places = torch.stack(torch.unravel_index(chosen, batch.shape[2:]), -1)
        found = self.decode(self.encoder(batch), axis[places])
        return (found - flat.gather(1, chosen)).square().mean()

    @torch.no_grad()
    def volume(self, code: Tensor, size: int, batch: int = 32768) -> Tensor:
        """Return scaled volumes ``(batch, 1, size, size, size)`` of codes, at any size."""
        axis = torch.linspace(-1, 1, size, device=code.device)
        points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
        rows = [torch.cat([self.decode(one[None], part[None])[0] for part in points.split(batch)]) for one in code]
        return torch.stack(rows).reshape(-1, 1, size, size, size)


class CodeGAN(Network):
    """A GAN of codes, both players perceptrons.

    Args:
        latent: length of the codes.
        noise: length of what they are made from.
        hidden: units a layer.
        seed: what the initial weights are drawn from.

    Source:
        Achlioptas et al. (2018), Learning representations and generative models for 3D point clouds; Chen & Zhang
        (2019), IM-GAN.
    """

    def __init__(self, latent: int = 64, noise: int = 64, hidden: int = 256, seed: int = 0) -> None:
        """Build both players."""
        super().__init__(self.chosen(locals()))
        with seeded(seed):
            self.generator, self.critic = _perceptron(noise, hidden, latent), _perceptron(latent, hidden, 1)

    def loss(self, batch: Tensor, rng: torch.Generator) -> Tensor:
        """Return the loss of a batch of codes, scaled to unit variance."""
        z = normal(batch.new_empty(len(batch), self.config["noise"]), rng)
        return game_loss(self.generator, self.critic, batch, z, rng, gamma=0.1)

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw scaled codes ``(count, latent)``."""
        return self.generator(normal(next(self.parameters()).new_empty(count, self.config["noise"]), rng))


def halvings(size: int) -> int:
    """Return how often a side is halved down to 4 points.

    Raises:
        InvalidInput: a side that is not 8, 16, 32 and so on.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 8 or size & (size - 1):
        raise InvalidInput(f"size is {size!r}; give a power of two of at least 8.")
    return (size // 4).bit_length() - 1


def _down(widths: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(widths[::-1], widths[-2::-1]))


def _grow(a: int, b: int, last: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.LeakyReLU(0.2), nn.ConvTranspose3d(a, b, 4, 2, 1)]
    return layers if last else [*layers, nn.GroupNorm(min(8, b), b)]  # most values are exactly 1, out of tanh's reach


def _shrink(a: int, b: int) -> list[nn.Module]:
    return [nn.Conv3d(a, b, 4, 2, 1), nn.LeakyReLU(0.2)]


def _perceptron(a: int, hidden: int, b: int) -> nn.Sequential:
    act = lambda: nn.LeakyReLU(0.2)  # noqa: E731
    return nn.Sequential(nn.Linear(a, hidden), act(), nn.Linear(hidden, hidden), act(), nn.Linear(hidden, b))
