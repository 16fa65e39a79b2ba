"""Fréchet distances: between two Gaussians, and between two sets of pictures through their wavelet packets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wavelab import wavelets
from wavelab.arrays import array, pictures
from wavelab.errors import InvalidInput


def frechet(mean1, cov1, mean2, cov2):
    r"""Compute the squared Fréchet distance between two Gaussians, exactly.

    .. math:: \|m_1 - m_2\|^2 + \operatorname{Tr}\big(C_1 + C_2 - 2 (C_1^{1/2} C_2\, C_1^{1/2})^{1/2}\big),

    which is also their squared 2-Wasserstein distance. Both square roots come from symmetric eigenvalue problems.

    Args:
        mean1: shape ``(..., d)``.
        cov1: shape ``(..., d, d)``, symmetric and positive semidefinite.
        mean2: as ``mean1``.
        cov2: as ``cov1``.

    Returns:
        A float, or an array of the leading shape where there is one.

    Raises:
        InvalidInput: shapes that do not fit, a covariance that is not symmetric or has a negative eigenvalue.

    Source:
        Dowson & Landau (1982), The Fréchet distance between multivariate normal distributions.
    """
    mean1, mean2 = (torch.from_numpy(array(m, name)) for m, name in ((mean1, "mean1"), (mean2, "mean2")))
    cov1, cov2 = (_covariance(c, name) for c, name in ((cov1, "cov1"), (cov2, "cov2")))
    d = mean1.shape[-1] if mean1.ndim else 0
    if not d or mean1.shape != mean2.shape or not cov1.shape == cov2.shape == (*mean1.shape, d):
        raise InvalidInput(
            f"mean1, cov1, mean2, cov2 have shapes {tuple(mean1.shape)}, {tuple(cov1.shape)}, {tuple(mean2.shape)}, "
            f"{tuple(cov2.shape)}; expected (..., d), (..., d, d) twice."
        )
    value = _frechet(mean1, cov1, _root(cov1, "cov1"), mean2, cov2).numpy()
    return float(value) if value.ndim == 0 else value


class FrechetWavelet:
    r"""The Fréchet wavelet distance to a fixed set of reference pictures.

    Every picture is split into the :math:`2^{lJ}` wavelet packets of depth :math:`J`. For each packet, its flattened
    coefficients (all channels together) are taken as one random vector, and :func:`frechet` compares the two sets'
    means and covariances; the mean over packets is the distance. No trained network has a say in it.

    It is biased upwards for finite sets, as every Fréchet distance of estimated covariances is. For two sets of
    ``n`` pictures of one source, with ``d`` coefficients a packet of unit variance and ``n`` well above ``d``, it is
    about ``d (d + 5) / (2 n)``, not 0. So compare at equal numbers of pictures only, and show the distance between
    two halves of real data beside the results: that is the floor.

    Attributes:
        levels: depth of the tree.
        wavelet: the wavelet.
        dims: number of space axes.

    Source:
        Veeramacheneni, Wolter, Kuehne & Gall (2025), Fréchet wavelet distance: a domain-agnostic metric for image
        generation.
    """

    def __init__(self, reference, levels: int = 3, wavelet: str = "haar", dims: int = 2):
        """Measure the reference pictures, shape ``(batch, channels, *space)``, at least two.

        Raises:
            InvalidInput: another shape, fewer than two pictures, or a size that cannot be halved ``levels`` times.
            UnknownName: there is no such wavelet.
        """
        self.levels, self.wavelet, self.dims = levels, wavelet, dims
        self._mean, self._cov = self._statistics(reference, "reference")
        self._root = _root(self._cov, "reference")

    def each(self, x, relative: bool = False) -> np.ndarray:
        r"""Return the squared Fréchet distance of every packet, in the order of :func:`wavelab.wavelets.packets`.

        Args:
            x: pictures ``(batch, channels, *space)``.
            relative: divide each distance by the reference's variance :math:`\operatorname{Tr} C` in that packet.
                Pictures of one grey, the mean of the reference, then have the distance 1 in every packet.

        Raises:
            InvalidInput: as the constructor; pictures of another size than the reference's; ``relative``, and a packet
                in which the reference does not vary.
        """
        mean, cov = self._statistics(x, "x")
        if mean.shape != self._mean.shape:
            raise InvalidInput(
                f"A packet of x has {mean.shape[1]} coefficients and one of the reference {self._mean.shape[1]}; "
                "expected pictures of the same channels and size."
            )
        distances = _frechet(self._mean, self._cov, self._root, mean, cov)
        return (distances / self._variance() if relative else distances).numpy()

    def __call__(self, x, relative: bool = False) -> float:
        """Return the distance of pictures ``x``: the mean of :meth:`each`.

        The packet of largest variance, the coarsest, decides it nearly alone. With ``relative``, fine texture counts as
        much as shape.
        """
        return float(self.each(x, relative).mean())

    def _variance(self) -> Tensor:
        variance = self._cov.diagonal(dim1=-2, dim2=-1).sum(-1)
        if not (variance > 0).all():
            raise InvalidInput(
                f"The reference does not vary in packet {int(variance.argmin())}; a relative distance is not defined."
            )
        return variance

    def _statistics(self, x, name: str) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(pictures(x, name, self.dims))
        if len(x) < 2:
            raise InvalidInput(f"{name} holds {len(x)} picture; a covariance needs at least two.")
        nodes = wavelets.packets(x, self.wavelet, self.levels, self.dims).movedim(2, 0).flatten(2)  # (nodes, batch, d)
        mean = nodes.mean(1)
        centred = nodes - mean[:, None]
        return mean, centred.mT @ centred / (len(x) - 1)


def frechet_wavelet(x, reference, levels: int = 3, wavelet: str = "haar", dims: int = 2) -> float:
    """Compute the Fréchet wavelet distance of ``x`` to ``reference``; see :class:`FrechetWavelet`."""
    return FrechetWavelet(reference, levels, wavelet, dims)(x)


def _root(cov: Tensor, name: str) -> Tensor:
    """The symmetric square root."""
    eigenvalues, vectors = torch.linalg.eigh(cov)
    _check_positive(eigenvalues, name)
    return (vectors * eigenvalues.clamp_min(0).sqrt()[..., None, :]) @ vectors.mT


def _frechet(mean1: Tensor, cov1: Tensor, root1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    product = root1 @ cov2 @ root1
    eigenvalues = torch.linalg.eigvalsh((product + product.mT) / 2)
    trace = sum(c.diagonal(dim1=-2, dim2=-1).sum(-1) for c in (cov1, cov2))
    value = (mean1 - mean2).square().sum(-1) + trace - 2 * eigenvalues.clamp_min(0).sqrt().sum(-1)
    return value.clamp_min(0)


def _covariance(cov, name: str) -> Tensor:
    cov = torch.from_numpy(array(cov, name))
    if cov.ndim < 2 or cov.shape[-1] != cov.shape[-2] or not cov.numel():
        raise InvalidInput(f"{name} has shape {tuple(cov.shape)}; expected (..., d, d).")
    if (cov - cov.mT).abs().max() > 1e-6 * cov.abs().max():
        raise InvalidInput(f"{name} is not symmetric; expected a covariance.")
    _check_positive(torch.linalg.eigvalsh(cov), name)
    return cov


def _check_positive(eigenvalues: Tensor, name: str) -> None:
    lowest, largest = eigenvalues.amin().item(), eigenvalues.abs().amax().item()
    if lowest < -1e-8 * largest:
        raise InvalidInput(f"{name} has the eigenvalue {lowest:.3g}; expected a covariance, positive semidefinite.")
