r"""The wavelet cascade: an image as a coarse one and whitened details, drawn one scale after the other.

The transform is orthonormal and whitening is affine, so the density factorises with a constant Jacobian,

.. math:: p(x) = c \; p_J(x_J) \prod_{j=1}^{J} \bar p_j(\bar x_j \mid x_j),

and one score model a factor is enough. Scale 1 is the finest, scale J the coarsest; lists run from 1 to J. The details
:math:`\bar x_j` have ``(2**dims - 1) * channels`` channels in the order of :func:`wavelab.wavelets.pack` (all
channels of the first detail band, then of the second, ...) and half the width of :math:`x_{j-1}`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavelab.diffusion import denoising_loss, euler_maruyama, score_function
from wavelab.errors import DataCorrupt, InvalidInput, UnknownName
from wavelab.filterbank import filters
from wavelab.wavelets import Whitening, dwt, idwt, pack, unpack
from wavelab.wsgm.checks import bind, check_data, check_network, check_request, check_scale, read_whitening

WHITENINGS = ("per-channel", "joint")


@dataclass(frozen=True)
class Cascade:
    r"""A wavelet, and the whitening of every scale of some training data.

    .. math:: \bar x_j = (\bar G a_{j-1} - \bar m_j) / \bar s_j, \quad x_j = (a_j - m_j) / s_j,
              \quad a_j = G a_{j-1}, \; a_0 = x.

    With ``"per-channel"`` whitening every detail channel has its own mean and standard deviation. With ``"joint"``,
    the paper's, all share mean 0 and one :math:`\bar s_j`, so that :math:`E\|\bar x_j\|^2` is their number, and the
    paper's :math:`\gamma_j` is :math:`\bar s_j / \bar s_{j-1}`. Conditions are standardised a channel either way; the
    conditional laws do not depend on how.

    Attributes:
        wavelet, dims, whitening: as :meth:`fit` was given them.
        details, conditions: :math:`(\bar m_j, \bar s_j)` and :math:`(m_j, s_j)` of the scales 1 to J.

    Source:
        Guth, Coste, De Bortoli & Mallat (2022), Wavelet score-based generative modeling, section 3. Chapter "The
        wavelet cascade".
    """

    wavelet: str
    dims: int
    whitening: str
    details: tuple[Whitening, ...]
    conditions: tuple[Whitening, ...]

    @classmethod
    def fit(
        cls, x: Tensor, wavelet: str = "haar", levels: int = 1, whitening: str = "per-channel", dims: int = 2
    ) -> Cascade:
        """Measure the whitening of every scale on training data.

        Args:
            x: training data, shape ``(batch, channels, *space)``.
            wavelet: an orthogonal PyWavelets name.
            levels: number of scales J; every space axis must be a multiple of ``2**levels``.
            whitening: ``"per-channel"`` or ``"joint"``.
            dims: number of space axes, 1, 2 or 3.

        Raises:
            InvalidInput: a size that cannot be halved ``levels`` times, a wavelet that is not orthogonal, or data of
                another shape, not finite or without variation.
            UnknownName: there is no such wavelet or whitening.
        """
        if whitening not in WHITENINGS:
            raise UnknownName.among("whitening", whitening, WHITENINGS)
        check_data(x, levels, dims)
        if not filters(wavelet).orthogonal or wavelet == "dmey":  # dmey is so to two decimals only
            raise InvalidInput(f"{wavelet} is not orthogonal; take an orthogonal wavelet such as haar, db4 or sym5.")
        details, conditions = [], []
        for _ in range(levels):
            x, x_bar = _split(x, wavelet, dims)
            details.append(_joint(x_bar) if whitening == "joint" else Whitening.fit(x_bar))
            conditions.append(Whitening.fit(x))
        return cls(wavelet, dims, whitening, tuple(details), tuple(conditions))

    @property
    def levels(self) -> int:
        """Number of scales J."""
        return len(self.details)

    @property
    def channels(self) -> int:
        """Channels of the data, and of every condition."""
        return len(self.conditions[0].mean)

    @property
    def detail_channels(self) -> int:
        """Channels of the details of every scale: ``(2**dims - 1) * channels``."""
        return (2**self.dims - 1) * self.channels

    def analyse(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        r"""Split data into whitened details and standardised conditions.

        Args:
            x: shape ``(batch, channels, *space)``.

        Returns:
            The pairs :math:`(\bar x_j, x_j)`, finest first, of shapes ``(batch, detail_channels, *space / 2**j)`` and
            ``(batch, channels, *space / 2**j)``.

        Raises:
            InvalidInput: data of other channels or a size that does not fit.
        """
        check_data(x, self.levels, self.dims, self.channels)
        pairs = []
        for detail, condition in zip(self.details, self.conditions):
            x, x_bar = _split(x, self.wavelet, self.dims)
            pairs.append((detail.apply(x_bar), condition.apply(x)))
        return pairs

    def synthesise(self, x_J: Tensor, x_bars: Sequence[Tensor]) -> Tensor:
        """Invert :meth:`analyse`: ``synthesise(pairs[-1][1], [x_bar for x_bar, _ in pairs])`` gives the data back.

        Args:
            x_J: the standardised coarse image, shape ``(batch, channels, *space / 2**levels)``.
            x_bars: the whitened details, finest first.

        Returns:
            Shape ``(batch, channels, *space)``, in the units of the data.

        Raises:
            InvalidInput: another number of scales, or shapes that do not fit.
        """
        if len(x_bars) != self.levels:
            raise InvalidInput(f"There are details of {len(x_bars)} scales; expected {self.levels}, finest first.")
        for j in range(self.levels, 0, -1):
            x_J = self.refine(x_J, x_bars[j - 1], j)
        return x_J

    def refine(self, x_j: Tensor, x_bar_j: Tensor, j: int) -> Tensor:
        r"""Go one scale finer: :math:`a_{j-1} = G^\top (s_j x_j + m_j) + \bar G^\top (\bar s_j \bar x_j + \bar m_j)`.

        Args:
            x_j: the standardised condition of scale j, shape ``(batch, channels, *space / 2**j)``.
            x_bar_j: the whitened details of scale j, shape ``(batch, detail_channels, *space / 2**j)``.
            j: the scale, 1 to J.

        Returns:
            :math:`x_{j-1}`, standardised for ``j > 1`` and in the units of the data for ``j = 1``.

        Raises:
            InvalidInput: tensors that do not fit together, or there is no such scale.
        """
        check_scale(self, j)
        expected = (x_j.shape[0], self.detail_channels, *x_j.shape[2:])
        if x_j.shape[1] != self.channels or tuple(x_bar_j.shape) != expected:
            raise InvalidInput(
                f"At scale {j} x_j has shape {tuple(x_j.shape)} and x_bar_j {tuple(x_bar_j.shape)}; expected "
                f"{self.channels} channels in x_j and shape {expected} of x_bar_j."
            )
        approx = self.conditions[j - 1].invert(x_j)
        packed = torch.cat([approx, self.details[j - 1].invert(x_bar_j)], 1)
        approx, detail = unpack(packed, self.dims)
        x = idwt(approx.contiguous(), [detail], self.wavelet, self.dims)
        return x if j == 1 else self.conditions[j - 2].apply(x)

    def sample(
        self,
        coarse_score: Callable,
        detail_scores: Sequence[Callable],
        process,
        times,
        shape: Sequence[int],
        generator: torch.Generator,
        sampler: Callable = euler_maruyama,
        callback: Callable | None = None,
        progress: bool = False,
    ) -> Tensor:
        r"""Draw images coarse to fine, every scale with the same process and time grid.

        .. math:: x_J \sim p_J, \qquad \bar x_j \sim \bar p_j(\cdot \mid x_j), \quad x_{j-1} = \text{refine}(x_j,
                  \bar x_j), \qquad j = J, \dots, 1

        Args:
            coarse_score: ``score(x_t, t)`` of the standardised :math:`x_J`.
            detail_scores: ``score(x_bar_t, t, x_j)`` of the scales 1 to J, finest first.
            process: the forward process, for instance ``diffusion.OU()``.
            times: the time grid, from 0 to ``process.T``.
            shape: shape of the images, ``(batch, channels, *space)``.
            generator: where all randomness comes from.
            sampler: one of :mod:`wavelab.diffusion`'s; fix its options with ``functools.partial``.
            callback: ``callback(name, step, t, x_t)`` after every step, with the name ``"x_2"`` or ``"x_bar_1"``.
            progress: show a bar a scale.

        Returns:
            Images, in the units of the data.

        Raises:
            InvalidInput: a size, number of channels or of scores that does not fit, or a score of the wrong shape.

        Source:
            Guth et al. (2022), algorithm 1.
        """
        check_request(self, shape, detail_scores)

        def draw(name, score, channels, j, *cond):
            start = process.prior((shape[0], channels, *(n >> j for n in shape[2:])), generator, generator.device)
            report = None if callback is None else lambda *state: callback(name, *state)
            score = bind(score, name, *cond)
            return sampler(score, process, times, start, generator=generator, callback=report, progress=progress)

        x = draw(f"x_{self.levels}", coarse_score, self.channels, self.levels)
        for j in range(self.levels, 0, -1):
            x_bar = draw(f"x_bar_{j}", detail_scores[j - 1], self.detail_channels, j, x)
            x = self.refine(x, x_bar, j)
        return x

    def coarse_data(self, x: Tensor) -> Tensor:
        """Return what the coarse model is trained on: the standardised :math:`x_J` of data ``x``."""
        return self.analyse(x)[-1][1]

    def detail_data(self, x: Tensor, j: int) -> tuple[Tensor, Tensor]:
        r"""Return what the model of scale ``j`` is trained on: the pair :math:`(\bar x_j, x_j)` of data ``x``."""
        check_scale(self, j)
        return self.analyse(x)[j - 1]

    def coarse_score(self, model, process, prediction: str = "eps") -> Callable:
        """Return ``score(x_t, t)`` of a network trained on :meth:`coarse_data`; refuse one of other channels."""
        check_network(self, model, None)
        return score_function(model, process, prediction=prediction)

    def detail_score(self, model, j: int, process, prediction: str = "eps") -> Callable:
        """Return ``score(x_bar_t, t, x_j)`` of a network trained on :meth:`detail_data`; refuse other channels."""
        check_network(self, model, j)
        return lambda x_bar_t, t, x_j: score_function(model, process, cond=x_j, prediction=prediction)(x_bar_t, t)

    def state(self) -> dict:
        """Return plain numbers and strings, fit for JSON or a file's metadata; :meth:`from_state` reads them."""
        tables = {"details": self.details, "conditions": self.conditions}
        numbers = {k: [{"mean": w.mean.tolist(), "std": w.std.tolist()} for w in table] for k, table in tables.items()}
        return {"wavelet": self.wavelet, "dims": self.dims, "whitening": self.whitening, **numbers}

    @classmethod
    def from_state(cls, state: dict) -> Cascade:
        """Make the cascade of :meth:`state` again.

        Raises:
            DataCorrupt: something is missing or does not fit.
        """
        try:
            tables = [tuple(map(read_whitening, state[kind])) for kind in ("details", "conditions")]
            cascade = cls(state["wavelet"], state["dims"], state["whitening"], *tables)
            lengths = [len(w.mean) for table in tables for w in table]
            wanted = [cascade.detail_channels] * cascade.levels + [cascade.channels] * cascade.levels
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataCorrupt(f"This is not the state of a cascade ({error!r}); expected what state() gave.") from error
        if lengths != wanted:
            raise DataCorrupt(f"The scales have {lengths} channels; expected {wanted}, what state() gives.")
        return cascade


def training_loss(process, **options) -> Callable:
    r"""Return the loss of one factor, for :func:`wavelab.training.train`.

    .. math:: E \|\epsilon_\theta(\bar x_{j,t}, t, x_j) - z\|^2, \quad \bar x_{j,t} = \alpha_t \bar x_j + \sigma_t z,
              \quad t = T u^2.

    Only the details are noised; the condition stays clean.

    Args:
        process: the forward process.
        options: further options of :func:`wavelab.diffusion.denoising_loss`, such as ``prediction="v"``.

    Returns:
        ``loss(model, batch, generator)``, with a batch of :meth:`Cascade.coarse_data` or :meth:`Cascade.detail_data`.

    Source:
        Guth et al. (2022), algorithm 1.
    """

    def loss(model, batch, generator):
        x, cond = batch if isinstance(batch, (tuple, list)) else (batch, None)
        return denoising_loss(model, process, x, generator, cond=cond, **options)

    return loss


def _split(x: Tensor, wavelet: str, dims: int) -> tuple[Tensor, Tensor]:
    """One level of the transform: the approximation, and the details on the channel axis."""
    approx, (detail,) = dwt(x, wavelet, 1, dims)
    return approx, pack(approx, detail, dims)[:, approx.shape[1] :]


def _joint(x_bar: Tensor) -> Whitening:
    """Mean 0 and one scale for all channels, such that the average square is 1."""
    std = x_bar.detach().square().mean().sqrt()
    if not std.isfinite() or std <= 0:
        raise InvalidInput("The details of x are all zero or not finite; variance 1 is out of reach.")
    return Whitening(x_bar.new_zeros(x_bar.shape[1]), std.expand(x_bar.shape[1]).clone())
