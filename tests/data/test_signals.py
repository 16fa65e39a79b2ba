import numpy as np
import pytest

from wavelab.data import signals
from wavelab.errors import DataUnavailable


def test_the_electrocardiogram():
    ecg = signals.ecg()
    assert ecg.values.shape == ecg.time.shape == (1024,)
    assert ecg.values.dtype == np.float64
    assert np.array_equal(ecg.values, np.rint(ecg.values))
    assert (ecg.values.min(), ecg.values.max()) == (-112, 250)
    assert ecg.time[-1] == pytest.approx(1023 / 360)


def test_mains_interference_gives_the_sampling_rate():
    """The two sharp lines of the spectrum above the heart's own band stand at 60 and 120 Hz if the rate is 360 Hz."""
    ecg = signals.ecg()
    spectrum = np.abs(np.fft.rfft((ecg.values - ecg.values.mean()) * np.hanning(1024)))
    frequency = np.fft.rfftfreq(1024, 1 / ecg.rate)
    for mains, low, high in ((60, 52, 68), (120, 110, 130)):
        band = (frequency > low) & (frequency < high)
        peak = frequency[band][spectrum[band].argmax()]
        assert abs(peak - mains) < 2 * ecg.rate / 1024
        assert spectrum[band].max() > 3 * np.median(spectrum[band])


def test_the_heart_beats_at_a_human_rate():
    from scipy.signal import find_peaks

    ecg = signals.ecg()
    beats, _ = find_peaks(ecg.values, height=150, distance=100)
    assert len(beats) == 3
    assert 60 < 60 * ecg.rate / np.diff(beats).mean() < 70  # per minute


def test_sea_temperatures():
    sea = signals.sea_temperature()
    assert len(sea.values) == 264
    assert (sea.rate, sea.start, sea.time_unit, sea.unit) == (4.0, 1950.0, "year", "degC")
    assert sea.time[-1] == 2015.75
    assert abs(sea.values.mean()) < 1e-9  # anomalies
    assert 1982 < sea.time[sea.values.argmax()] < 1999  # the strong El Nino events


def test_signals_cannot_be_rebound_and_do_not_share_pywavelets_memory():
    ecg = signals.ecg()
    with pytest.raises(AttributeError):
        ecg.rate = 1.0
    ecg.values[:] = 0
    assert signals.ecg().values.any()


def test_a_package_without_its_data(monkeypatch):
    monkeypatch.delattr("pywt.data.ecg")
    with pytest.raises(DataUnavailable, match="'ecg' should come with PyWavelets"):
        signals.ecg()
