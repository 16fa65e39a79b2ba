"""What a network learns, and how its output becomes a score: ε-, x₀- and v-prediction, denoising and implicit losses.

A network is called ``model(x, log_noise, cond)``: ``x`` scaled to unit variance, ``log_noise`` of shape ``(batch,)``.
The log of ``sigma / alpha`` says how noisy ``x`` is whatever the process, so one network serves all of them. Chapter 7
derives the losses, chapter 8 the kinds of prediction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wavelab.diffusion.process import Chain, Process
from wavelab.diffusion.times import Time, as_time, normal, per_sample
from wavelab.errors import InvalidInput, UnknownName

PREDICTIONS = ("eps", "x0", "v")
Field = Callable[[Tensor], Tensor]
Score = Callable[[Tensor, Time], Tensor]


def denoising_loss(
    model: nn.Module,
    process: Process,
    x0: Tensor,
    generator: torch.Generator,
    cond: Tensor | None = None,
    prediction: str = "eps",
    schedule: str = "quadratic",
    t_min: float | None = None,
    t: Time | None = None,
) -> Tensor:
    r"""Return the denoising score matching loss of a batch.

    .. math:: \mathbb E\,\lVert\epsilon_\theta(x_t, t)-z\rVert^2/d,\qquad x_t=\alpha_t x_0+\sigma_t z

    or the same for :math:`x_0` or :math:`v=(\alpha_t z-\sigma_t x_0)/\sqrt{\alpha_t^2+\sigma_t^2}`.

    Args:
        model: the network.
        process: the forward process.
        x0: clean samples ``(batch, channels, *space)``.
        generator: source of times and noise.
        cond: what the network is conditioned on, clean, ``(batch, cond_channels, *space)``.
        prediction: ``"eps"``, ``"x0"`` or ``"v"``.
        schedule: how training times are drawn, see :func:`training_times`.
        t_min: the smallest training time.
        t: given times, one or one a sample, instead of drawn ones.

    Returns:
        A scalar.

    Raises:
        InvalidInput: the network's output has another shape than ``x0``.
        UnknownName: another prediction or schedule.

    Source:
        Vincent (2011), A connection between score matching and denoising autoencoders; Ho et al. (2020), equation 14;
        v: Salimans & Ho (2022), Progressive distillation for fast sampling of diffusion models.
    """
    if t is None:
        t = training_times(process, len(x0), generator, schedule, t_min).to(x0.device)
    x_t, z = process.noise(x0, t, generator)
    output = predict(model, process, x_t, t, cond)
    return (output - target(x0, z, t, process, prediction)).square().mean()


def training_times(
    process: Process, batch: int, generator: torch.Generator, schedule: str = "quadratic", t_min: float | None = None
) -> Tensor:
    r"""Draw training times, ``(batch,)``, with :math:`u` uniform on (0, 1).

    Args:
        process: its ``T`` is the largest time; for a chain times are rounded up to whole steps.
        batch: how many.
        generator: source of the times.
        schedule: ``"quadratic"``: :math:`t_{\min}+(T-t_{\min})u^2`, dense near the data; ``"uniform"``: with :math:`u`.
        t_min: the smallest time; by default ``T / 10000``.

    Raises:
        UnknownName: another schedule.
        InvalidInput: ``t_min`` out of range.
    """
    if schedule not in ("quadratic", "uniform"):
        raise UnknownName.among("schedule of training times", schedule, ("quadratic", "uniform"))
    t_min = process.T / 10000 if t_min is None else t_min
    if not 0 < t_min < process.T:
        raise InvalidInput(f"t_min is {t_min}; expected a time between 0 and T = {process.T}.")
    u = torch.rand(batch, generator=generator, device=generator.device)
    t = t_min + (process.T - t_min) * (u**2 if schedule == "quadratic" else u)
    return t.ceil() if isinstance(process, Chain) else t


def predict(model: nn.Module, process: Process, x_t: Tensor, t: Time, cond: Tensor | None = None) -> Tensor:
    """Call the network as all networks are called: ``model(x_t / scale, log_noise, cond)``.

    Raises:
        InvalidInput: the output has another shape than ``x_t``.
    """
    log_noise = process.log_noise(t).to(x_t).expand(len(x_t))
    output = model(x_t / per_sample(process.scale(t), x_t), log_noise, cond)
    if output.shape != x_t.shape:
        raise InvalidInput(
            f"The network {type(model).__name__} gave shape {tuple(output.shape)} for x_t of shape "
            f"{tuple(x_t.shape)}; both must agree. Set its out_channels to the channels of the data."
        )
    return output


def target(x0: Tensor, z: Tensor, t: Time, process: Process, prediction: str = "eps") -> Tensor:
    """Return what the network should have said: ``z``, ``x0`` or ``v``.

    Raises:
        UnknownName: another prediction.
    """
    check_prediction(prediction)
    if prediction == "v":
        cos, sin = _angle(process, t, x0)
        return cos * z - sin * x0
    return z if prediction == "eps" else x0


def to_score(output: Tensor, x_t: Tensor, t: Time, process: Process, prediction: str = "eps") -> Tensor:
    r"""Turn the network's output into the score.

    .. math:: \nabla\log p_t(x_t)=-\epsilon/\sigma_t=(\alpha_tx_0-x_t)/\sigma_t^2

    Raises:
        UnknownName: another prediction.
    """
    check_prediction(prediction)
    alpha, sigma = per_sample(process.alpha(t), x_t), per_sample(process.sigma(t), x_t)
    if prediction == "x0":
        return (alpha * output - x_t) / sigma**2
    if prediction == "v":
        cos, sin = _angle(process, t, x_t)
        output = sin * x_t / per_sample(process.scale(t), x_t) + cos * output  # eps
    return -output / sigma


def to_denoised(output: Tensor, x_t: Tensor, t: Time, process: Process, prediction: str = "eps") -> Tensor:
    r"""Turn the network's output into the denoised sample :math:`\mathbb E[x_0|x_t]=(x_t-\sigma_t\epsilon)/\alpha_t`.

    Raises:
        UnknownName: another prediction.
    """
    check_prediction(prediction)
    if prediction == "x0":
        return output
    if prediction == "v":
        cos, sin = _angle(process, t, x_t)
        return cos * x_t / per_sample(process.scale(t), x_t) - sin * output
    return (x_t - per_sample(process.sigma(t), x_t) * output) / per_sample(process.alpha(t), x_t)


def score_function(model: nn.Module, process: Process, cond: Tensor | None = None, prediction: str = "eps") -> Score:
    """Return ``score(x, t)``, what samplers ask for, from a network.

    Args:
        model: the network.
        process: the forward process it is used with.
        cond: what the network is conditioned on.
        prediction: what the network was trained to say.

    Raises:
        UnknownName: another prediction.
    """
    check_prediction(prediction)
    return lambda x, t: to_score(predict(model, process, x, t, cond), x, t, process, prediction)


def denoiser(model: nn.Module, process: Process, cond: Tensor | None = None, prediction: str = "eps") -> Score:
    """Return ``denoise(x, t)``, the network's estimate of the clean sample's mean given ``x_t = x``.

    Raises:
        UnknownName: another prediction.
    """
    check_prediction(prediction)
    return lambda x, t: to_denoised(predict(model, process, x, t, cond), x, t, process, prediction)


def tweedie(score: Tensor, x_t: Tensor, t: Time, process: Process) -> Tensor:
    r"""Return the posterior mean by Tweedie's formula, :math:`\mathbb E[x_0|x_t]=(x_t+\sigma_t^2 s(x_t,t))/\alpha_t`.

    Source:
        Efron (2011), Tweedie's formula and selection bias. Chapter 7.
    """
    return (x_t + per_sample(process.sigma(t), x_t) ** 2 * score) / per_sample(process.alpha(t), x_t)


def implicit_score_loss(
    score: Field, x: Tensor, generator: torch.Generator | None = None, probes: int | None = 1
) -> Tensor:
    r"""Return the implicit score matching loss :math:`\mathbb E[\tfrac12\lVert s(x)\rVert^2+\mathrm{div}\,s(x)]`.

    Args:
        score: ``score(x)`` at one noise level; for a field of two arguments pass ``lambda x: score(x, t)``.
        x: samples ``(batch, ...)``.
        generator: source of the probes.
        probes: random probes for the divergence, or None for the exact divergence.

    Returns:
        A scalar that can be differentiated.

    Raises:
        InvalidInput: see :func:`divergence`.

    Source:
        Hyvärinen (2005), Estimation of non-normalized statistical models by score matching; probes: Song et al. (2020),
        Sliced score matching. Chapter 7.
    """
    value, div = value_and_divergence(score, x, rademacher(x, generator, probes), create_graph=True)
    return (0.5 * value.flatten(1).square().sum(1) + div).mean()


def divergence(f: Field, x: Tensor, generator: torch.Generator | None = None, probes: int | None = 1) -> Tensor:
    r"""Return :math:`\mathrm{div} f(x)=\sum_i\partial_i f_i`, by Hutchinson's estimate or exactly.

    .. math:: \mathrm{div} f=\mathbb E[b^\top\nabla f\,b]\quad\text{for random signs } b

    Args:
        f: a field that treats the samples of a batch one by one.
        x: ``(batch, ...)``.
        generator: source of the signs.
        probes: how many vectors of signs are averaged; None for the exact sum, one backward pass a dimension.

    Returns:
        Shape ``(batch,)``.

    Raises:
        InvalidInput: fewer than one probe, or an ``f`` that autograd cannot follow.

    Source:
        Hutchinson (1989), A stochastic estimator of the trace of the influence matrix.
    """
    return value_and_divergence(f, x, rademacher(x, generator, probes))[1]


def rademacher(x: Tensor, generator: torch.Generator | None, probes: int | None) -> Tensor | None:
    """Draw ``probes`` tensors of random signs in the shape of ``x``, or None for None.

    Raises:
        InvalidInput: fewer than one probe, or no generator.
    """
    if probes is None:
        return None
    if probes < 1:
        raise InvalidInput(f"probes is {probes}; expected at least 1, or None for the exact divergence.")
    return torch.stack([torch.where(normal(x, generator) < 0, -1.0, 1.0).to(x) for _ in range(probes)])


def value_and_divergence(
    f: Field, x: Tensor, probes: Tensor | None = None, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """Return ``f(x)`` and its divergence, for given probes ``(probes, *x.shape)`` or exactly for None.

    Raises:
        InvalidInput: ``f`` changes the shape, or autograd cannot follow it.
    """
    with torch.enable_grad():
        x = x if create_graph and x.requires_grad else x.detach().requires_grad_()
        value = f(x)
        if value.shape != x.shape:
            raise InvalidInput(f"The field gave shape {tuple(value.shape)} for x of shape {tuple(x.shape)}.")
        if not value.requires_grad:
            raise InvalidInput("The field cannot be differentiated; does it run under torch.no_grad, or not use x?")
        exact = probes is None
        directions = _unit_vectors(x) if exact else probes
        div = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for b in directions:
            (pulled,) = torch.autograd.grad(value, x, b, retain_graph=True, create_graph=create_graph)
            div = div + (pulled * b).flatten(1).sum(1)
    div = div if exact else div / len(probes)
    return (value, div) if create_graph else (value.detach(), div.detach())


def check_prediction(prediction: str) -> None:
    """Raise UnknownName unless the prediction is one of ``PREDICTIONS``."""
    if prediction not in PREDICTIONS:
        raise UnknownName.among("prediction", prediction, PREDICTIONS)


def _unit_vectors(x: Tensor):
    for i in range(x[0].numel()):
        b = torch.zeros_like(x)
        b.flatten(1)[:, i] = 1
        yield b


def _angle(process: Process, t: Time, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``alpha / scale`` and ``sigma / scale``, a cosine and a sine."""
    scale = process.scale(as_time(t))
    return per_sample(process.alpha(t) / scale, x), per_sample(process.sigma(t) / scale, x)
