"""Hounsfield units: windows for the eye, attenuation coefficients for the physics."""

from __future__ import annotations

import math
import sys

import numpy as np

from wavelab.errors import InvalidInput, UnknownName

MU_WATER = 0.02059  # 1/mm, linear attenuation coefficient of water at 60 keV; source in hu_to_mu

WINDOWS = {  # centre and width, HU
    "soft tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (300.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "full": (0.0, 2000.0),
}


def window(hu, centre: float | str = "soft tissue", width: float | None = None):
    r"""Map Hounsfield units to grey levels as a radiologist's display does.

    .. math:: g = \min(1, \max(0, (h - c) / w + 1/2))

    Args:
        hu: array or tensor of any shape, HU.
        centre: the value shown as mid grey, HU; or the name of a preset in ``WINDOWS``.
        width: the range between black and white, HU, positive; left out with a preset.

    Returns:
        Grey levels in [0, 1], same shape and kind, floating point (float32 for integers).

    Raises:
        UnknownName: there is no such preset.
        InvalidInput: the array is empty or not finite, or the window is not a finite centre with a positive width.

    Source: DICOM PS3.3, C.11.2.1.3.2, "linear exact". Chapter: images and sub-bands.
    """
    if isinstance(centre, str):
        if width is not None:
            raise InvalidInput(f"A preset brings its own width: got {centre!r} and width {width}. Give one of the two.")
        if centre not in WINDOWS:
            raise UnknownName.among("window", centre, WINDOWS)
        centre, width = WINDOWS[centre]
    if width is None or not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        raise InvalidInput(f"A window needs a finite centre and a positive width in HU, got {centre} and {width}.")
    return ((_floating(hu, "hu") - centre) / width + 0.5).clip(0.0, 1.0)


def hu_to_mu(hu, mu_water: float = MU_WATER):
    r"""Convert Hounsfield units to linear attenuation coefficients.

    .. math:: \mu = \mu_w (1 + h / 1000)

    Values below -1000 HU (noise in air) give slightly negative coefficients: nothing is clipped, so that
    :func:`mu_to_hu` is the exact inverse.

    Args:
        hu: array or tensor of any shape, HU.
        mu_water: coefficient of water, 1/mm, positive. The default is its value at 60 keV, near the mean energy of a
            filtered 120 kV tube: mass attenuation 0.2059 cm^2/g times 1 g/cm^3. A scanner's beam has many energies;
            one value is a model of it.

    Returns:
        Linear attenuation coefficients, 1/mm, same shape and kind, floating point (float32 for integers).

    Raises:
        InvalidInput: the array is empty or not finite, or ``mu_water`` is not positive.

    Source: Hubbell and Seltzer, X-ray mass attenuation coefficients, NIST Standard Reference Database 126, water.
    """
    _check_water(mu_water)
    return mu_water * (1.0 + _floating(hu, "hu") / 1000.0)


def mu_to_hu(mu, mu_water: float = MU_WATER):
    r"""Convert linear attenuation coefficients to Hounsfield units, the inverse of :func:`hu_to_mu`.

    .. math:: h = 1000 (\mu - \mu_w) / \mu_w

    Args:
        mu: array or tensor of any shape, 1/mm.
        mu_water: coefficient of water, 1/mm, positive; see :func:`hu_to_mu`.

    Returns:
        Hounsfield units, same shape and kind, floating point.

    Raises:
        InvalidInput: the array is empty or not finite, or ``mu_water`` is not positive.
    """
    _check_water(mu_water)
    return 1000.0 * (_floating(mu, "mu") - mu_water) / mu_water


def _check_water(mu_water: float) -> None:
    """Refuse a coefficient of water that is not a positive number."""
    if not (math.isfinite(mu_water) and mu_water > 0):
        raise InvalidInput(f"mu_water must be a positive number in 1/mm, got {mu_water}.")


def _floating(values, name: str):
    """Return an array or tensor as floating point (integers as float32) after checking that it is usable."""
    torch = sys.modules.get("torch")  # no tensor can exist before torch was imported
    if torch is not None and torch.is_tensor(values):
        if values.is_complex() or values.dtype == torch.bool:
            raise InvalidInput(f"{name} must hold real numbers, got a tensor of {values.dtype}.")
        values = values if values.is_floating_point() else values.float()
        finite, count = bool(torch.isfinite(values).all()), values.numel()
    else:
        values = _as_float_array(values, name)
        finite, count = bool(np.isfinite(values).all()), values.size
    if count == 0:
        raise InvalidInput(f"{name} is empty (shape {tuple(values.shape)}); expected at least one value.")
    if not finite:
        raise InvalidInput(
            f"{name} (shape {tuple(values.shape)}) holds NaN or infinite values; mend or mask them first."
        )
    return values


def _as_float_array(values, name: str) -> np.ndarray:
    """Return anything array-like as a floating-point NumPy array."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array
    if array.dtype.kind not in "iu":
        raise InvalidInput(f"{name} must hold real numbers, got an array of {array.dtype}.")
    return array.astype(np.float32)
