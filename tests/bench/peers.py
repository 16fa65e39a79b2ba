"""The other wavelet transforms that the benchmark compares with.

Each peer is a function ``peer(wavelet, x, levels)`` that returns two calls without arguments: one forward transform
of ``x``, and one backward pass through it (the transpose applied to a fixed random cotangent). It returns ``None``
where it has no such transform.
"""

from __future__ import annotations

import importlib.resources
import sys
import types
from collections.abc import Callable

import pywt
import torch
from torch import Tensor

from wavelab.wavelets import dwt

Calls = tuple[Callable[[], object], Callable[[], object]]


def torch_calls(transform: Callable[[Tensor], list[Tensor]], x: Tensor) -> Calls:
    """Forward without a graph; backward alone, through a graph built once."""

    def forward():
        with torch.no_grad():
            return transform(x)

    leaf = x.clone().requires_grad_()
    outputs = transform(leaf)
    generator = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(out.shape, generator=generator) for out in outputs]
    return forward, lambda: torch.autograd.grad(outputs, leaf, cotangents, retain_graph=True)


def wavelab(wavelet: str, x: Tensor, levels: int) -> Calls:
    dims = x.ndim - 2

    def transform(x):
        approx, details = dwt(x, wavelet, levels, dims)
        return [approx, *details]

    return torch_calls(transform, x)


def _leaves(coefficients: object) -> list[Tensor]:
    if isinstance(coefficients, Tensor):
        return [coefficients]
    parts = coefficients.values() if isinstance(coefficients, dict) else coefficients
    return [leaf for part in parts for leaf in _leaves(part)]


def ptwt_conv(wavelet: str, x: Tensor, levels: int) -> Calls:
    """``wavedec2``/``wavedec3``, mode "periodic": one strided convolution with the outer-product filters a level."""
    import ptwt

    function = {2: ptwt.wavedec2, 3: ptwt.wavedec3}[x.ndim - 2]
    return torch_calls(lambda x: _leaves(function(x, wavelet, mode="periodic", level=levels)), x)


def ptwt_separable(wavelet: str, x: Tensor, levels: int) -> Calls:
    """``fswavedec2``/``fswavedec3``, mode "periodic": one strided convolution an axis and level."""
    import ptwt

    function = {2: ptwt.fswavedec2, 3: ptwt.fswavedec3}[x.ndim - 2]
    return torch_calls(lambda x: _leaves(function(x, wavelet, mode="periodic", level=levels)), x)


def pywavelets(wavelet: str, x: Tensor, levels: int) -> Calls:
    """``wavedecn``, mode "periodization", one thread; backward is ``waverecn`` with the analysis filters reversed.

    That is the exact transpose, so the same linear map as the other backward passes, without a graph.
    """
    array, axes = x.numpy(), tuple(range(2, x.ndim))
    bank = pywt.Wavelet(wavelet)
    flipped = bank.dec_lo[::-1], bank.dec_hi[::-1]
    transpose = pywt.Wavelet("transpose", filter_bank=(bank.dec_lo, bank.dec_hi, *flipped))
    coefficients = pywt.wavedecn(array, bank, "periodization", levels, axes)
    return (
        lambda: pywt.wavedecn(array, bank, "periodization", levels, axes),
        lambda: pywt.waverecn(coefficients, transpose, "periodization", axes),
    )


def pytorch_wavelets(wavelet: str, x: Tensor, levels: int) -> Calls | None:
    """``DWTForward``, mode "periodization": one grouped strided convolution an axis and level; images only."""
    module = import_pytorch_wavelets()
    if x.ndim != 4:
        return None
    transform = module.DWTForward(levels, wavelet, "periodization")
    return torch_calls(lambda x: _leaves(transform(x)), x)


def import_pytorch_wavelets() -> types.ModuleType:
    """Import pytorch_wavelets, whose last release asks setuptools for a module that new setuptools lack."""
    if "pkg_resources" not in sys.modules:
        try:
            import pkg_resources  # noqa: F401
        except ImportError:
            stand_in = types.ModuleType("pkg_resources")
            stand_in.resource_stream = lambda package, name: (
                importlib.resources.files(package).joinpath(name).open("rb")
            )
            sys.modules["pkg_resources"] = stand_in
    import pytorch_wavelets

    return pytorch_wavelets


PEERS = {
    "ptwt": ptwt_conv,
    "ptwt separable": ptwt_separable,
    "PyWavelets": pywavelets,
    "pytorch_wavelets": pytorch_wavelets,
}
