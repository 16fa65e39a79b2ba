import numpy as np
import pytest
import torch

from wavelab.data import MU_WATER, WINDOWS, hu_to_mu, mu_to_hu, window
from wavelab.errors import InvalidInput, UnknownName

ALL_HU = np.arange(-1024, 3072, dtype=np.int16)


def test_window_by_hand():
    hu = np.array([-1000, -160, -60, 40, 140, 240, 3000], dtype=np.int16)
    assert window(hu, 40, 400).tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert window(hu, 40, 400).dtype == np.float32


def test_window_presets_are_the_same_as_their_numbers():
    assert {"soft tissue", "lung", "bone"} <= set(WINDOWS)
    for name, (centre, width) in WINDOWS.items():
        assert np.array_equal(window(ALL_HU, name), window(ALL_HU, centre, width))
    assert np.array_equal(window(ALL_HU), window(ALL_HU, "soft tissue"))
    assert WINDOWS["soft tissue"] == (40, 400)
    assert WINDOWS["lung"] == (-600, 1500)


def test_window_does_not_overflow_small_integers():
    assert window(np.array([3071], np.int16), -32000, 100).item() == 1
    assert window(np.array([-1024], np.int16), 32000, 100).item() == 0


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_attenuation_and_back_is_exact_for_every_hounsfield_unit(dtype):
    hu = ALL_HU.astype(dtype)
    back = mu_to_hu(hu_to_mu(hu))
    assert np.array_equal(np.rint(back), hu)
    assert np.abs(back - hu).max() < (1e-9 if dtype == np.float64 else 1e-3)


def test_water_air_and_a_value_by_hand():
    mu = hu_to_mu(np.array([0.0, -1000.0, 1000.0]))
    assert mu.tolist() == [MU_WATER, 0.0, 2 * MU_WATER]
    assert mu_to_hu(np.array([0.03]), 0.02).item() == pytest.approx(500)
    assert pytest.approx(0.2059 / 10) == MU_WATER  # cm^2/g times 1 g/cm^3, in 1/mm


def test_types_are_kept():
    assert hu_to_mu(ALL_HU).dtype == np.float32
    assert hu_to_mu(ALL_HU.astype(np.float64)).dtype == np.float64
    assert mu_to_hu([0.02, 0.03]).dtype == np.float64
    assert type(hu_to_mu(np.zeros((2, 2), np.int16).view(np.memmap))) is np.ndarray


def test_tensors_give_the_same_as_arrays_and_gradients_pass():
    hu = torch.from_numpy(ALL_HU)
    for function in (window, hu_to_mu):
        result = function(hu)
        assert result.dtype == torch.float32
        assert np.allclose(result.numpy(), function(ALL_HU), atol=1e-6)
    x = torch.tensor([0.0, 500.0], dtype=torch.float64, requires_grad=True)
    mu_to_hu(hu_to_mu(x)).sum().backward()
    assert torch.allclose(x.grad, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("function", [window, hu_to_mu, mu_to_hu])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_empty_and_not_finite_arrays_are_refused(function, kind):
    with pytest.raises(InvalidInput, match=r"is empty \(shape \(0, 3\)\)"):
        function(kind(np.zeros((0, 3))))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(InvalidInput, match="NaN or infinite"):
            function(kind(np.array([0.0, bad])))


@pytest.mark.parametrize("function", [window, hu_to_mu, mu_to_hu])
@pytest.mark.parametrize("bad", [np.array(["a"]), np.array([1 + 2j]), np.array([True]), None])
def test_arrays_of_something_else_are_refused(function, bad):
    with pytest.raises(InvalidInput, match="must hold real numbers"):
        function(bad)
    if bad is not None and bad.dtype.kind in "cb":
        with pytest.raises(InvalidInput, match="must hold real numbers"):
            function(torch.as_tensor(bad))


@pytest.mark.parametrize("width", [0, -400, np.nan, np.inf, None])
def test_a_wrong_width_is_refused(width):
    with pytest.raises(InvalidInput, match="positive width"):
        window(ALL_HU, 40, width)


def test_a_wrong_centre_or_preset_is_refused():
    with pytest.raises(InvalidInput, match="finite centre"):
        window(ALL_HU, np.nan, 400)
    with pytest.raises(UnknownName, match=r"no window 'lungs'.*'lung'"):
        window(ALL_HU, "lungs")
    with pytest.raises(InvalidInput, match="brings its own width"):
        window(ALL_HU, "lung", 300)


@pytest.mark.parametrize("function", [hu_to_mu, mu_to_hu])
@pytest.mark.parametrize("mu_water", [0, -0.02, np.nan, np.inf])
def test_a_wrong_coefficient_of_water_is_refused(function, mu_water):
    with pytest.raises(InvalidInput, match="mu_water must be a positive number"):
        function(ALL_HU, mu_water)
