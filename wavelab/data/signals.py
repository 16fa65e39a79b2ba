"""Signals that come with PyWavelets: an electrocardiogram and a climate series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavelab.errors import DataUnavailable


@dataclass(frozen=True, eq=False)
class Signal:
    """A sampled signal and what its numbers mean."""

    id: str
    values: np.ndarray  # (samples,), float64
    rate: float  # samples per unit of time
    unit: str  # of the values
    start: float = 0.0  # time of the first sample
    time_unit: str = "s"

    @property
    def time(self) -> np.ndarray:
        """Time of every sample, in ``time_unit``."""
        return self.start + np.arange(len(self.values)) / self.rate


def ecg() -> Signal:
    """Return an electrocardiogram: 1024 samples at 360 Hz (2.8 s, three beats), digital units of the recorder.

    PyWavelets gives neither source nor sampling rate. The rate follows from the signal: interference from 60 Hz mains
    stands at one sixth of the sampling rate, with its second harmonic at one third, so the rate is 360 Hz. That is the
    rate of the MIT-BIH Arrhythmia Database, from which the excerpt therefore most likely comes. The vertical scale is
    not known; its values are whole numbers.

    Raises:
        DataUnavailable: PyWavelets is installed without its data.

    Source: PyWavelets, ``pywt.data.ecg``; Moody and Mark (2001), The impact of the MIT-BIH Arrhythmia Database, IEEE
    Engineering in Medicine and Biology 20(3), 45-50. Chapter: from Fourier to wavelets.
    """
    return Signal("ecg", _packaged("ecg").astype(np.float64), rate=360.0, unit="digital units")


def sea_temperature() -> Signal:
    """Return sea-surface temperature anomalies of the eastern Pacific (NINO3), four values a year.

    Raises:
        DataUnavailable: PyWavelets is installed without its data.

    Source: PyWavelets, ``pywt.data.nino``: NOAA ERSSTv4, public domain. Chapter: from Fourier to wavelets.
    """
    time, values = _packaged("nino")
    rate = (len(time) - 1) / (time[-1] - time[0])
    return Signal("sea_temperature", values.astype(np.float64), float(rate), "degC", float(time[0]), "year")


def _packaged(name: str):
    """Return what ``pywt.data`` holds under a name."""
    try:
        import pywt.data

        return getattr(pywt.data, name)()
    except (ImportError, AttributeError, OSError) as error:
        raise DataUnavailable(
            f"The signal {name!r} should come with PyWavelets, which does not have it: {error}. "
            "Reinstall PyWavelets from its wheel."
        ) from error
