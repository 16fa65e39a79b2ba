"""Forward processes: how data turns into noise, as small objects that know their own formulas.

Every process is Gaussian given its start: ``x_t = alpha(t) x_0 + sigma(t) z``. Times are numbers or tensors ``()`` or
``(batch,)``; ``t = 0`` is data, ``t = T`` is close to noise. Chapter 8 explains them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavelab.diffusion.times import Time, as_time, check_positive, check_steps, normal, per_sample, time_grid
from wavelab.errors import InvalidInput


class Process:
    """What processes share; each adds ``alpha``, ``sigma``, ``drift``, ``diffusion``, ``log_noise`` and ``time``."""

    T: float
    prior_std = 1.0

    def noise(self, x0: Tensor, t: Time, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        r"""Draw from the forward process: :math:`x_t = \alpha_t x_0 + \sigma_t z` with :math:`z\sim N(0, I)`.

        Args:
            x0: clean samples ``(batch, channels, *space)``.
            t: one time, or one a sample ``(batch,)``.
            generator: source of the noise.

        Returns:
            ``(x_t, z)``.
        """
        z = normal(x0, generator)
        return per_sample(self.alpha(t), x0) * x0 + per_sample(self.sigma(t), x0) * z, z

    def scale(self, t: Time) -> Tensor:
        r"""Return :math:`\sqrt{\alpha_t^2+\sigma_t^2}`, the size of ``x_t`` for data of variance one."""
        return torch.hypot(self.alpha(t), self.sigma(t))

    def prior(self, shape: Sequence[int], generator: torch.Generator, device: torch.device | None = None) -> Tensor:
        """Draw where sampling starts: Gaussian noise of the standard deviation that is left at ``T``."""
        z = normal(torch.empty(tuple(shape), device=device), generator)
        return self.prior_std * z

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """Return the log density of :meth:`prior`, in nats a sample: shape ``(batch,)``."""
        z = x.flatten(1) / self.prior_std
        return -0.5 * z.square().sum(1) - z.shape[1] * (math.log(self.prior_std) + 0.5 * math.log(2 * math.pi))


class VariancePreserving(Process):
    r"""The linear equation :math:`dx=-\tfrac12\beta(t)x\,dt+\sqrt{\beta(t)}\,dw`, which keeps variance one at one.

    With :math:`B(t)=\int_0^t\beta`: :math:`\alpha_t=e^{-B/2}` and :math:`\sigma_t^2=1-e^{-B}`. A process adds ``rate``
    (:math:`\beta`), ``integral`` (:math:`B`) and ``inverse_integral``.
    """

    def alpha(self, t: Time) -> Tensor:
        """Return the factor of the data, ``exp(-B/2)``."""
        return torch.exp(-self.integral(t) / 2)

    def sigma(self, t: Time) -> Tensor:
        """Return the standard deviation of the noise, ``sqrt(1 - exp(-B))``."""
        return torch.sqrt(-torch.expm1(-self.integral(t)))

    def scale(self, t: Time) -> Tensor:
        """Return one: the family keeps variance one."""
        return torch.ones_like(as_time(t))

    def drift(self, x: Tensor, t: Time) -> Tensor:
        """Return the drift ``-beta(t) x / 2``."""
        return -per_sample(self.rate(t), x) / 2 * x

    def diffusion(self, t: Time) -> Tensor:
        """Return the diffusion coefficient ``g(t) = sqrt(beta(t))``."""
        return torch.sqrt(self.rate(t))

    def log_noise(self, t: Time) -> Tensor:
        r"""Return :math:`\log(\sigma_t/\alpha_t)=\tfrac12\log(e^{B}-1)`."""
        b = self.integral(t)
        return (b + torch.log(-torch.expm1(-b))) / 2

    def time(self, log_noise: Time) -> Tensor:
        """Return the time at which the log noise is ``log_noise``, the inverse of :meth:`log_noise`."""
        return self.inverse_integral(torch.logaddexp(2 * as_time(log_noise), torch.zeros_like(as_time(log_noise))))


@dataclass(frozen=True)
class OU(VariancePreserving):
    r"""The Ornstein–Uhlenbeck process :math:`dx=-x\,dt+\sqrt2\,dw`.

    .. math:: \alpha_t=e^{-t},\qquad\sigma_t^2=1-e^{-2t}

    Attributes:
        T: final time.

    Source:
        The process of Guth, Coste, De Bortoli & Mallat (2022), section 2.1.
    """

    T: float = 5.0

    def __post_init__(self) -> None:
        check_positive(T=self.T)

    def rate(self, t: Time) -> Tensor:
        """Return ``beta(t) = 2``."""
        return torch.full_like(as_time(t), 2.0)

    def integral(self, t: Time) -> Tensor:
        """Return ``B(t) = 2 t``."""
        return 2 * as_time(t)

    def inverse_integral(self, b: Tensor) -> Tensor:
        """Return ``t = B / 2``."""
        return b / 2


@dataclass(frozen=True)
class VP(VariancePreserving):
    r"""The variance-preserving process whose rate grows linearly, with ``T = 1``.

    .. math:: \beta(t)=\beta_{\min}+t(\beta_{\max}-\beta_{\min})

    Attributes:
        beta_min: rate at ``t = 0``.
        beta_max: rate at ``t = 1``.

    Source:
        Song et al. (2021), Score-based generative modeling through stochastic differential equations, equation 32.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    T = 1.0

    def __post_init__(self) -> None:
        check_positive(beta_min=self.beta_min, beta_max=self.beta_max)

    def rate(self, t: Time) -> Tensor:
        """Return ``beta(t)``."""
        return self.beta_min + as_time(t) * (self.beta_max - self.beta_min)

    def integral(self, t: Time) -> Tensor:
        """Return ``B(t) = beta_min t + (beta_max - beta_min) t^2 / 2``."""
        t = as_time(t)
        return self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2

    def inverse_integral(self, b: Tensor) -> Tensor:
        """Return the positive root of the quadratic, in the form that does not cancel."""
        return 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * b))


@dataclass(frozen=True, eq=False)
class Chain(VariancePreserving):
    r"""The discrete chain of DDPM, :math:`x_k=\sqrt{1-\beta_k}\,x_{k-1}+\sqrt{\beta_k}\,z`, with times ``1, ..., T``.

    Between whole times it is the variance-preserving equation of piecewise constant rate :math:`-\log(1-\beta_k)` on
    :math:`(k-1, k]`, which has exactly the chain's marginals at whole times; drift and diffusion are those of this
    equation.

    Attributes:
        betas: shape ``(steps,)``, each in (0, 1), float64.

    Source:
        Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models, equation 2.
    """

    betas: Tensor

    def __post_init__(self) -> None:
        betas = torch.as_tensor(self.betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0 or not ((betas > 0) & (betas < 1)).all():
            raise InvalidInput(f"betas is {betas}; expected a vector of numbers between 0 and 1, one a step.")
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "_rates", -torch.log1p(-betas))
        object.__setattr__(self, "_knots", torch.cat([betas.new_zeros(1), self._rates.cumsum(0)]))

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.betas)

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Chain:
        """Build DDPM's chain: linear betas, given for 1000 steps and rescaled for about the same end."""
        check_steps(steps)
        return cls(torch.linspace(first, last, steps, dtype=torch.float64) * 1000 / steps)

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008) -> Chain:
        """Build the chain whose ``alpha^2`` follows a squared cosine (Nichol & Dhariwal 2021, equation 17)."""
        check_steps(steps)
        u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        kept = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls((1 - kept[1:] / kept[:-1]).clamp(max=0.999))

    @classmethod
    def like(cls, process: Process, steps: int) -> Chain:
        """Build the chain with the marginals of a variance-preserving process at ``steps`` equal time steps."""
        if not isinstance(process, VariancePreserving):
            raise InvalidInput(f"{process} does not preserve the variance; a chain needs OU, VP or Chain.")
        return cls(-torch.expm1(-process.integral(time_grid(process.T, steps)).diff()))

    def rate(self, t: Time) -> Tensor:
        """Return ``-log(1 - beta_k)`` for ``t`` in ``(k-1, k]``."""
        t = as_time(t)
        return self._rates.to(t)[(t.ceil().long() - 1).clamp(0, self.T - 1)]

    def integral(self, t: Time) -> Tensor:
        """Return the rates' sum up to ``t``, linear between whole times."""
        t = as_time(t)
        return self._knots.to(t)[(t.ceil().long() - 1).clamp(0, self.T - 1)] + self._since_knot(t) * self.rate(t)

    def inverse_integral(self, b: Tensor) -> Tensor:
        """Return the time at which the sum of the rates is ``b``."""
        k = (torch.searchsorted(self._knots.to(b), b.contiguous()) - 1).clamp(0, self.T - 1)
        return k + (b - self._knots.to(b)[k]) / self._rates.to(b)[k]

    def _since_knot(self, t: Tensor) -> Tensor:
        return t - (t.ceil() - 1).clamp(0, self.T - 1)


@dataclass(frozen=True)
class VE(Process):
    r"""The variance-exploding process :math:`dx=g(t)\,dw`: :math:`\alpha_t=1`, noise of geometrically growing size.

    .. math:: \sigma_t^2=\sigma_{\min}^2\big((\sigma_{\max}/\sigma_{\min})^{2t}-1\big),\qquad g^2=d\sigma_t^2/dt

    Attributes:
        sigma_min: scale of the smallest noise.
        sigma_max: standard deviation at ``t = T = 1``, close enough.

    Source:
        Song et al. (2021), equation 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    T = 1.0

    def __post_init__(self) -> None:
        check_positive(sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        if self.sigma_max <= self.sigma_min:
            raise InvalidInput(f"sigma_max = {self.sigma_max} is not above sigma_min = {self.sigma_min}.")

    @property
    def _growth(self) -> float:
        return 2 * math.log(self.sigma_max / self.sigma_min)

    @property
    def prior_std(self) -> float:
        """The standard deviation of the noise at ``T``."""
        return float(self.sigma(self.T))

    def alpha(self, t: Time) -> Tensor:
        """Return one: the data is not scaled."""
        return torch.ones_like(as_time(t))

    def sigma(self, t: Time) -> Tensor:
        """Return the standard deviation of the noise."""
        return self.sigma_min * torch.sqrt(torch.expm1(self._growth * as_time(t)))

    def drift(self, x: Tensor, t: Time) -> Tensor:
        """Return zero: nothing pulls."""
        return torch.zeros_like(x)

    def diffusion(self, t: Time) -> Tensor:
        """Return ``g(t)``, the square root of the derivative of the variance."""
        return self.sigma_min * math.sqrt(self._growth) * torch.exp(self._growth * as_time(t) / 2)

    def log_noise(self, t: Time) -> Tensor:
        """Return ``log sigma(t)``."""
        return torch.log(self.sigma(t))

    def time(self, log_noise: Time) -> Tensor:
        """Return the time at which the log noise is ``log_noise``."""
        return torch.log1p(torch.exp(2 * (as_time(log_noise) - math.log(self.sigma_min)))) / self._growth
