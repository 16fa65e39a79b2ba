r"""Shapes as two small volumes: a coarse one, and the detail one level finer.

Let :math:`L_0` be a TSDF, :math:`L_{j+1}=AL_j` its low-pass part along all three axes and :math:`S` the synthesis. The
residuals

.. math:: R_j = L_j - SL_{j+1}

make a pyramid from which :math:`L_0` comes back exactly, whatever the wavelet. Neural wavelet-domain diffusion keeps
:math:`C=L_J` and :math:`D=R_{J-1}`, one volume, not seven sub-bands, and takes the finer residuals for zero.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pywt
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from wavelab import wavelets
from wavelab.errors import InvalidInput

MODES = ("periodic", "zero")
CUBIC = "cubic"


@dataclass(frozen=True)
class Pyramid:
    """Low-pass volumes and residuals of cubes of one size.

    Args:
        size: grid points a side of a TSDF.
        levels: how often the size is halved.
        wavelet: any discrete wavelet of PyWavelets; or ``"cubic"``, no wavelet but samples on grids of half the points
            and cubic splines between them, to compare with.
        mode: ``"periodic"``, the exact periodised transform; or ``"zero"``, which pads with zeros as the paper does and
            has larger volumes.

    Raises:
        InvalidInput: a mode, a size or levels that do not fit each other.
        UnknownName: there is no such wavelet.
    """

    size: int = 64
    levels: int = 2
    wavelet: str = "bior6.8"
    mode: str = "periodic"

    def __post_init__(self):
        """Check the arguments."""
        if self.mode not in MODES:
            raise InvalidInput(f"mode is {self.mode!r}; give one of {', '.join(MODES)}.")
        for name, value in (("size", self.size), ("levels", self.levels)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"{name} is {value!r}; give a positive whole number.")
        if self.mode == "periodic" and self.size % 2**self.levels:
            raise InvalidInput(f"A volume of {self.size} points a side cannot be halved {self.levels} times.")
        if self.wavelet != CUBIC:
            wavelets.dwt(torch.zeros(1, 1, 8), self.wavelet, dims=1)  # for the error, if there is no such wavelet

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Points a side of :math:`L_0, …, L_J`."""
        return (self.size, *(len(a) for a, _ in self._matrices))

    @property
    def gain(self) -> float:
        """What a constant is multiplied by on its way to the coarse volume: :math:`8^{J/2}`, or 1 for samples."""
        return 1.0 if self.wavelet == CUBIC else 8 ** (self.levels / 2)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return coarse volume and detail, ``(batch, 1, n, n, n)`` each, of TSDFs; what is finer is left out.

        Raises:
            InvalidInput: volumes of another size.
        """
        self._check(x, self.size, "TSDF")
        before, analysis, synthesis = self._ends
        finer = _apply(before, x) if self.levels > 1 else x
        coarse = _apply(analysis, finer)
        return coarse, finer - _apply(synthesis, coarse)

    def join(self, coarse: Tensor, detail: Tensor | None = None) -> Tensor:
        """Return the TSDFs of coarse volumes and details; a detail that is left out is zero.

        Raises:
            InvalidInput: volumes of other sizes.
        """
        return self.compose(coarse, [] if detail is None else [detail])

    def decompose(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the coarse volume and all residuals, coarsest first."""
        self._check(x, self.size, "TSDF")
        residuals = []
        for analysis, synthesis in self._matrices:
            low = _apply(analysis, x)
            residuals.append(x - _apply(synthesis, low))
            x = low
        return x, residuals[::-1]

    def compose(self, coarse: Tensor, residuals: list[Tensor]) -> Tensor:
        """Return the TSDFs of coarse volumes and residuals, coarsest first; those at the end may be left out."""
        self._check(coarse, self.sizes[-1], "coarse volume")
        x = coarse
        for k, (_, synthesis) in enumerate(reversed(self._matrices)):
            x = _apply(synthesis, x)
            if k < len(residuals):
                self._check(residuals[k], self.sizes[-2 - k], "detail")
                x = x + residuals[k]
        return x

    def upsample(self, coarse: Tensor) -> Tensor:
        """Return the coarse volume at the size of the detail, :math:`SC`."""
        self._check(coarse, self.sizes[-1], "coarse volume")
        return _apply(self._matrices[-1][1], coarse)

    def settings(self) -> dict[str, int | str]:
        """Return the arguments."""
        return asdict(self)

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Analysis down to the last level but one in one step, and analysis and synthesis of the last."""
        before = torch.eye(self.size, dtype=torch.float64)
        for analysis, _ in self._matrices[:-1]:
            before = analysis @ before
        return before, *self._matrices[-1]

    @cached_property
    def _matrices(self) -> list[tuple[Tensor, Tensor]]:
        """Analysis and synthesis of every level along one axis, float64."""
        found, n = [], self.size
        for _ in range(self.levels):
            found.append(self._filters(n))
            n = len(found[-1][0])
        return found

    def _filters(self, n: int) -> tuple[Tensor, Tensor]:
        if self.wavelet == CUBIC:
            return _spline(n, n // 2), _spline(n // 2, n)
        return _periodic(n, self.wavelet) if self.mode == "periodic" else _zero_padded(n, self.wavelet)

    def _check(self, x: Tensor, size: int, name: str) -> None:
        if x.ndim != 5 or tuple(x.shape[2:]) != (size,) * 3:
            raise InvalidInput(f"A {name} has the shape {tuple(x.shape)}; expected (batch, 1, {size}, {size}, {size}).")


OFFICIAL = Pyramid(256, 3, "bior6.8", "zero")  # of Hui et al. (2022): 136, 76 and 46 points a side


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a matrix along all three axes, the last first."""
    m = matrix.to(x)
    x = x @ m.T
    x = m @ x
    return torch.einsum("ij,bcjkl->bcikl", m, x)


def _periodic(n: int, wavelet: str) -> tuple[Tensor, Tensor]:
    unit = torch.eye(n, dtype=torch.float64)[:, None]
    analysis = wavelets.dwt(unit, wavelet, dims=1)[0][:, 0].T
    low = torch.eye(n // 2, dtype=torch.float64)[:, None]
    nothing = torch.zeros(n // 2, 1, 1, n // 2, dtype=torch.float64)
    return analysis.contiguous(), wavelets.idwt(low, [nothing], wavelet, dims=1)[:, 0].T.contiguous()


def _zero_padded(n: int, wavelet: str) -> tuple[Tensor, Tensor]:
    analysis = pywt.dwt(np.eye(n), wavelet, "zero", axis=0)[0]
    synthesis = pywt.idwt(np.eye(len(analysis)), None, wavelet, "zero", axis=0)[:n]
    return torch.from_numpy(analysis), torch.from_numpy(synthesis)


def _spline(a: int, b: int) -> Tensor:
    """Return the matrix that takes values at ``a`` points to the cubic spline's at ``b``, both from -1 to 1."""
    curve = CubicSpline(np.linspace(-1, 1, a), np.eye(a))
    return torch.from_numpy(curve(np.linspace(-1, 1, b)))
