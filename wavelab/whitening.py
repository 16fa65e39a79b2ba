"""Whitening: channels scaled to mean 0 and variance 1, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput
from wavelab.paths import atomic_write
from wavelab.subbands import check_tensor


@dataclass(frozen=True)
class Whitening:
    r"""Mean and standard deviation of every channel, to make channels comparable.

    .. math:: \hat x_c = (x_c - m_c) / s_c

    Sub-bands differ by orders of magnitude; after :func:`pack` and whitening each has mean 0 and variance 1.

    Attributes:
        mean: shape ``(channels,)``.
        std: shape ``(channels,)``, population standard deviation, positive.

    Source:
        Guth, Coste, De Bortoli & Mallat (2022), Wavelet score-based generative modeling.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> Whitening:
        """Measure every channel over the batch and space.

        Args:
            x: shape ``(batch, channels, *space)``.

        Returns:
            The statistics, on the device and in the dtype of ``x``.

        Raises:
            InvalidInput: not such a tensor, NaN or infinite values, or a channel that never changes.
        """
        check_tensor(x, "x", 1)
        if x.ndim < 2:
            raise InvalidInput(f"x has shape {tuple(x.shape)}; expected (batch, channels, *space).")
        axes = [axis for axis in range(x.ndim) if axis != 1]
        std, mean = torch.std_mean(x.detach(), axes, correction=0)
        if not (std.isfinite().all() and mean.isfinite().all()):
            raise InvalidInput("x holds NaN or infinite values; expected finite numbers. Find them with x.isfinite().")
        still = (std <= 8 * torch.finfo(x.dtype).eps * mean.abs()).nonzero().flatten().tolist()
        if still:
            raise InvalidInput(f"Channels {still} of x are constant; variance 1 is out of reach, so leave them out.")
        return cls(mean, std)

    def apply(self, x: Tensor) -> Tensor:
        """Return ``(x - mean) / std`` for ``x`` of shape ``(batch, channels, *space)``."""
        mean, std = self._like(x)
        return (x - mean) / std

    def invert(self, x: Tensor) -> Tensor:
        """Return ``x * std + mean``, the inverse of :meth:`apply`."""
        mean, std = self._like(x)
        return x * std + mean

    def save(self, path: Path | str) -> None:
        """Write the statistics to a safetensors file, whole or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        with atomic_write(path) as temporary:
            save_file({"mean": self.mean.contiguous(), "std": self.std.contiguous()}, temporary)

    @classmethod
    def load(cls, path: Path | str) -> Whitening:
        """Read what :meth:`save` wrote.

        Raises:
            DataUnavailable: there is no such file.
            DataCorrupt: the file is damaged or holds something else.
        """
        if not Path(path).is_file():
            raise DataUnavailable(f"There is no whitening file {path}; write one with Whitening.fit(x).save(path).")
        advice = "expected two vectors 'mean' and 'std'; write it again with Whitening.fit(x).save(path)."
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataCorrupt(f"{path} is not a readable safetensors file ({error}); {advice}") from error
        if set(tensors) != {"mean", "std"}:
            raise DataCorrupt(f"{path} holds {sorted(tensors)}; {advice}")
        mean, std = tensors["mean"], tensors["std"]
        if mean.ndim != 1 or mean.shape != std.shape or not (std > 0).all() or not mean.isfinite().all():
            raise DataCorrupt(f"{path} holds shapes {tuple(mean.shape)}, {tuple(std.shape)} or bad values; {advice}")
        return cls(mean, std)

    def _like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_tensor(x, "x", 1)
        if x.ndim < 2 or x.shape[1] != len(self.mean):
            raise InvalidInput(f"x has shape {tuple(x.shape)}; expected (batch, {len(self.mean)} channels, *space).")
        shape = [-1, *[1] * (x.ndim - 2)]
        return self.mean.to(x).reshape(shape), self.std.to(x).reshape(shape)
