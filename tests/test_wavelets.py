"""The periodised transform against PyWavelets, its own algebra, and bad input."""

import itertools
import warnings

import numpy as np
import ptwt
import pytest
import pywt
import torch

from wavelab import plans, separable, wavelets
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, StorageError, UnknownName
from wavelab.filterbank import noise_gains, taps
from wavelab.wavelets import SUBBANDS, Whitening, dwt, idwt

ROUNDING = {torch.float64: 1e-12, torch.float32: 2e-5}
ALL = pywt.wavelist(kind="discrete")
ORTHOGONAL = [name for name in ALL if pywt.Wavelet(name).orthogonal and name != "dmey"]
FEW = ["haar", "db2", "db4", "sym5", "coif3", "bior2.2", "bior6.8", "rbio3.1", "db20"]
# Whole matrices; blocks on one axis, on all, wrapping around; tiny; convolution of long and of unwieldy axes.
GRIDS = [
    ((64,), 3), ((2048,), 2), ((300,), 1), ((4096,), 1), ((2,), 1),
    ((8, 16), 3), ((144, 160), 2), ((256, 128), 2), ((2, 4), 1), ((300, 6), 1),
    ((16, 8, 32), 2), ((128, 64, 96), 1), ((2, 2, 4), 1),
]  # fmt: skip
JIT = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own


def _noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _leaves(coefficients):
    approx, details = coefficients
    return [approx, *details]


def _dot(a, b):
    return sum((x * y).sum() for x, y in zip(_leaves(a), _leaves(b), strict=True))


def _pywavelets(x, wavelet, levels, dims):
    """Our layout, computed by PyWavelets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of levels that only boundaries reach
        approx, *details = pywt.wavedecn(x.numpy(), wavelet, "periodization", levels, axes=range(-dims, 0))
    names = [name[::-1].replace("L", "a").replace("H", "d") for name in SUBBANDS[dims][1:]]
    return approx, [np.stack([level[name] for name in names], -dims - 1) for level in details]


@pytest.mark.parametrize(("space", "levels"), GRIDS)
@pytest.mark.parametrize("wavelet", FEW)
@pytest.mark.parametrize("dtype", ROUNDING)
def test_equals_pywavelets_and_inverts(wavelet, space, levels, dtype, monkeypatch):
    monkeypatch.setattr(separable, "MANY", 2**10)  # blocks of middling grids too
    dims = len(space)
    x = _noise(1 if max(space) > 200 else 3, *space, dtype=dtype)
    approx, details = dwt(x, wavelet, levels, dims)
    for ours, theirs in zip(
        _leaves((approx, details)), _leaves(_pywavelets(x.double(), wavelet, levels, dims)), strict=True
    ):
        assert ours.shape == theirs.shape and ours.dtype == dtype and ours.is_contiguous()
        np.testing.assert_allclose(ours, theirs, atol=ROUNDING[dtype], rtol=0)
    back = idwt(approx, details, wavelet, dims)
    exact = 1e-10 if dtype == torch.float64 else ROUNDING[dtype]  # bior6.8 is tabulated to twelve digits
    torch.testing.assert_close(back, x, atol=exact * (10 if wavelet == "rbio3.1" else 1), rtol=0)


@pytest.mark.parametrize("wavelet", ALL)
def test_every_wavelet(wavelet):
    x = _noise(2, 24, 16)
    coefficients = dwt(x, wavelet, 2)
    for ours, theirs in zip(_leaves(coefficients), _leaves(_pywavelets(x, wavelet, 2, 2)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-11)
    inexact = 0.05 if wavelet == "dmey" else 1e-6  # dmey is cut to 62 taps; the longest tables hold eight digits
    torch.testing.assert_close(idwt(*coefficients, wavelet), x, atol=inexact, rtol=0)


@pytest.mark.parametrize(("space", "levels"), [((32,), 3), ((8, 4), 1), ((4, 8), 2), ((4, 2, 4), 1)])
@pytest.mark.parametrize("wavelet", ["haar", "db3", "sym4", "coif2", "db10"])
def test_orthogonal_wavelets_are_orthogonal_matrices(wavelet, space, levels):
    n, dims = int(np.prod(space)), len(space)
    units = torch.eye(n, dtype=torch.float64).reshape(n, *space)
    matrix = wavelets.flatten(*dwt(units, wavelet, levels, dims), dims)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(n, dtype=torch.float64), atol=1e-10, rtol=0)


@pytest.mark.parametrize("wavelet", ORTHOGONAL)
def test_energy_is_kept(wavelet):
    x = _noise(2, 32, 16)
    energy = sum(c.square().sum() for c in _leaves(dwt(x, wavelet, 2)))
    assert energy == pytest.approx(float(x.square().sum()), rel=1e-9)


@pytest.mark.parametrize("n", [2, 4, 8, 32])
@pytest.mark.parametrize("wavelet", FEW)
def test_the_dual_matrix_is_the_inverse(wavelet, n):
    product = wavelets.analysis_matrix(wavelet, n, dual=True).T @ wavelets.analysis_matrix(wavelet, n)
    torch.testing.assert_close(product, torch.eye(n, dtype=torch.float64), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("space", "levels"), [((512,), 2), ((128, 160), 2), ((300, 6), 1), ((128, 32, 64), 2)])
@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior6.8"])
def test_backward_is_the_transpose(wavelet, space, levels):
    dims = len(space)
    x = _noise(2, *space).requires_grad_()
    y = [_noise(*c.shape, seed=i) for i, c in enumerate(_leaves(dwt(x, wavelet, levels, dims)))]
    (transposed,) = torch.autograd.grad(_leaves(dwt(x, wavelet, levels, dims)), x, y)
    u = _noise(2, *space, seed=9)
    assert _dot(dwt(u, wavelet, levels, dims), (y[0], y[1:])) == pytest.approx(float((u * transposed).sum()), rel=1e-9)
    leaves = [c.clone().requires_grad_() for c in y]
    transposed = torch.autograd.grad(idwt(leaves[0], leaves[1:], wavelet, dims), leaves, u)
    product = (idwt(y[0], y[1:], wavelet, dims) * u).sum()
    assert _dot((y[0], y[1:]), (transposed[0], transposed[1:])) == pytest.approx(float(product), rel=1e-9)


@JIT
@pytest.mark.parametrize("wavelet", ["haar", "bior2.2", "db3"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_both_orders(wavelet, dims):
    x = _noise(1, *[4] * dims).requires_grad_()
    forward = lambda x: tuple(_leaves(dwt(x, wavelet, 2, dims)))  # noqa: E731
    inverse = lambda approx, *details: idwt(approx, details, wavelet, dims)  # noqa: E731
    leaves = tuple(c.detach().requires_grad_() for c in forward(x))
    options = {"check_forward_ad": True, "fast_mode": True}
    assert torch.autograd.gradcheck(forward, x, **options)
    assert torch.autograd.gradgradcheck(forward, x, fast_mode=True)
    assert torch.autograd.gradcheck(inverse, leaves, **options)
    assert torch.autograd.gradgradcheck(inverse, leaves, fast_mode=True)


def test_unused_details_get_zero_gradient():
    leaves = [c.requires_grad_() for c in _leaves(dwt(_noise(1, 8, 8), "db2", 2))]
    x = idwt(leaves[0], leaves[1:], "db2")
    dwt(x, "db2", 2)[0].square().sum().backward()
    assert leaves[0].grad.abs().max() > 0.1
    assert max(leaf.grad.abs().max() for leaf in leaves[1:]) < 1e-12


@JIT
@pytest.mark.parametrize("wavelet", ["haar", "db2"])
def test_function_transforms(wavelet):
    x = _noise(3, 2, 8, 16)
    approx, (coarse, fine) = dwt(x, wavelet, 2)
    mapped = torch.vmap(lambda x: dwt(x, wavelet, 2), in_dims=1, out_dims=1)(x)
    torch.testing.assert_close(mapped, (approx, [coarse, fine]))
    back = torch.vmap(lambda a: idwt(a, [coarse[0], fine[0]], wavelet))(approx)
    torch.testing.assert_close(back[2], idwt(approx[2], [coarse[0], fine[0]], wavelet))
    tangent = torch.func.jvp(lambda c: idwt(approx, [c, fine], wavelet), (coarse,), (coarse,))[1]
    torch.testing.assert_close(tangent, idwt(0 * approx, [coarse, 0 * fine], wavelet))
    one = x[0, 0]
    forward, reverse = (f(lambda x: dwt(x, wavelet, 2)[0])(one) for f in (torch.func.jacfwd, torch.func.jacrev))
    torch.testing.assert_close(forward, reverse)


@JIT
@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("space", [(4, 16), (16, 8, 4)])
def test_compiles_into_one_graph(wavelet, space):
    def there_and_back(x):
        approx, details = dwt(x, wavelet, 2, len(space))
        return idwt(approx, [d.tanh() for d in details], wavelet, len(space))

    x = _noise(2, *space).requires_grad_()
    torch.compiler.reset()
    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, there_and_back(x))
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (compiled, there_and_back(x))]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", [(16, 1, 128, 128), (1, 1, 32, 128, 64), (3, 256, 256)])
def test_sizes_that_pay_off(shape):
    x = _noise(*shape, dtype=torch.float32)
    dims = 3 if len(shape) == 5 else 2
    plan = separable._plan(x, list(shape[-dims:]), "db4", False, False)
    for axis in plan.axes:
        used = sum(matrix.numel() for pieces in axis.blocks for *_, matrix in pieces)
        assert used < 0.4 * axis.n**2 if axis.n >= 128 else len(axis.blocks) == 1  # zeros are left out
    coefficients = dwt(x, "db4", 3, dims)
    for ours, theirs in zip(_leaves(coefficients), _leaves(_pywavelets(x, "db4", 3, dims)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=ROUNDING[torch.float32])
    torch.testing.assert_close(idwt(*coefficients, "db4", dims), x, atol=ROUNDING[torch.float32], rtol=0)


@pytest.mark.parametrize("wavelet", ["haar", "db5", "bior3.3"])
@pytest.mark.parametrize("transpose", [False, True])
def test_all_ways_of_one_axis_agree(wavelet, transpose, monkeypatch):
    x, approx, detail = _noise(2, 160, 128), _noise(2, 80, 64), _noise(2, 3, 80, 64)
    found = []
    for many, convolve, kinds in ((True, False, [10, 4]), (False, False, [1, 1]), (False, True, [0, 0])):
        plan = plans.make_plan((160, 128), wavelet, False, transpose, many, x.dtype, x.device, convolve)
        assert [len(axis.blocks) for axis in plan.axes] == kinds
        monkeypatch.setattr(separable, "_plan", lambda *_, plan=plan: plan)
        if transpose:
            found.append(separable.synthesise(approx, detail, wavelet, False, 2))
        else:
            found.append(separable.analyse(x, wavelet, False, 2))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_a_large_batch_goes_through_in_parts(monkeypatch):
    x = _noise(5, 2, 128, 160)
    whole = {name: dwt(x, name, 2) for name in ("haar", "db4")}
    monkeypatch.setattr(separable, "PART", 3 * 128 * 160)
    for name, coefficients in whole.items():
        torch.testing.assert_close(dwt(x, name, 2), coefficients)
        torch.testing.assert_close(idwt(*coefficients, name), x)


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_any_strides_and_leading_axes(wavelet):
    base = _noise(6, 4, 128, 160)
    for x in (base.permute(1, 0, 3, 2), base[::2, 1:], base.flip(-1), base[0, 0], base[:, :, ::2, ::4]):
        coefficients = dwt(x, wavelet, 2)
        torch.testing.assert_close(coefficients, dwt(x.clone(memory_format=torch.contiguous_format), wavelet, 2))
        twisted = [c.transpose(-1, -2).contiguous().transpose(-1, -2) for c in _leaves(coefficients)]
        torch.testing.assert_close(idwt(twisted[0], twisted[1:], wavelet), x)
    assert dwt(base, wavelet)[0].shape == (6, 4, 64, 80)


def test_input_is_left_alone_and_results_do_not_share_memory():
    x = _noise(2, 128, 128)
    kept = x.clone()
    leaves = _leaves(dwt(x, "db4", 2))
    idwt(leaves[0], leaves[1:], "db4")
    assert torch.equal(x, kept)
    for a, b in itertools.combinations([x, *leaves], 2):
        assert a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr()


def test_half_precision():
    x = _noise(2, 1, 96, 128)
    for dtype, rounding in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
        approx, details = dwt(x.to(dtype), "db2", 2)
        assert approx.dtype == dtype
        torch.testing.assert_close(idwt(approx, details, "db2").double(), x, atol=rounding, rtol=0)


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("space", [(96, 128), (2, 4096)])
def test_autocast_does_not_touch_it(wavelet, space):
    x = _noise(2, *space, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        approx, details = dwt(x, wavelet)
        back = idwt(approx, details, wavelet)
    torch.testing.assert_close((approx, details), dwt(x, wavelet), atol=0, rtol=0)
    torch.testing.assert_close(back, x, atol=ROUNDING[torch.float32], rtol=0)


def test_names_of_stripes():
    """Horizontal stripes are low along the width and high along the height: LH, and PyWavelets' cH."""
    ramp = torch.arange(16) % 2 * 2.0 - 1
    stripes = {"LH": ramp[:, None].expand(16, 16), "HL": ramp.expand(16, 16), "HH": ramp[:, None] * ramp}
    horizontal, vertical, diagonal = (pywt.dwt2(x.numpy(), "haar", "periodization")[1] for x in stripes.values())
    theirs = {"LH": horizontal[0], "HL": vertical[1], "HH": diagonal[2]}  # cH, cV, cD
    for name, x in stripes.items():
        approx, (detail,) = dwt(x, "haar")
        energy = [float(band.square().sum()) for band in (approx, *detail)]
        assert energy == pytest.approx([256.0 if band == name else 0.0 for band in SUBBANDS[2]])
        np.testing.assert_allclose(detail[SUBBANDS[2].index(name) - 1], theirs[name], atol=1e-6)


def test_names_of_layers():
    ramp = torch.arange(8) % 2 * 2.0 - 1
    along = {"H": ramp, "L": torch.ones(8)}
    for name in SUBBANDS[3][1:]:
        width, height, depth = (along[letter] for letter in name)
        _, (detail,) = dwt(depth[:, None, None] * height[:, None] * width, "haar", 1, 3)
        assert SUBBANDS[3][1 + int(detail.square().sum((1, 2, 3)).argmax())] == name
    assert SUBBANDS[1] == ("L", "H") and SUBBANDS[2] == ("LL", "LH", "HL", "HH")


def test_filters():
    bank = wavelets.filters("bior2.2")
    theirs = pywt.Wavelet("bior2.2")
    for name in ("dec_lo", "dec_hi", "rec_lo", "rec_hi"):
        assert getattr(bank, name).tolist() == getattr(theirs, name)
    assert (bank.name, bank.orthogonal) == ("bior2.2", False)
    assert wavelets.filters("sym4").orthogonal
    bank.dec_lo.zero_()  # a copy: the transform does not change
    assert wavelets.filters("bior2.2").dec_lo.abs().sum() > 0


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_noise_gains(dims):
    for wavelet in ("db3", "bior2.2"):
        n = 128 if dims < 3 else 32
        _, details = dwt(torch.eye(n, dtype=torch.float64), wavelet, 2, 1)
        line = [details[0][:, 0].square().sum(0).mean().sqrt(), details[1][:, 0].square().sum(0).mean().sqrt()]
        gains = noise_gains(wavelet, 2, dims)
        for level, expected in zip(gains, line, strict=True):
            assert level[-1] == pytest.approx(float(expected) ** dims)  # HH..H: the product over the axes
    assert all(torch.allclose(gain, torch.ones_like(gain)) for gain in noise_gains("db3", 3, dims))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pack_and_unpack(dims):
    x = _noise(2, 3, *[4] * dims)
    approx, (detail,) = dwt(x, "haar", 1, dims)
    packed = wavelets.pack(approx, detail, dims)
    assert packed.shape == (2, 3 * 2**dims, *[2] * dims)
    torch.testing.assert_close(packed[:, :3], approx)
    for band, channel in itertools.product(range(2**dims - 1), range(3)):
        torch.testing.assert_close(packed[:, 3 * (1 + band) + channel], detail[:, channel, band])
    torch.testing.assert_close(wavelets.unpack(packed, dims), (approx, detail))


def test_flatten_and_unflatten():
    for space, levels in (((32,), 3), ((16, 8), 2), ((4, 8, 12), 1)):
        x = _noise(2, 3, *space)
        coefficients = dwt(x, "db2", levels, len(space))
        flat = wavelets.flatten(*coefficients, len(space))
        assert flat.shape == (2, 3, x[0, 0].numel())
        torch.testing.assert_close(wavelets.unflatten(flat, space, levels), coefficients)


def test_mosaic():
    x = _noise(2, 16, 24)
    approx, details = dwt(x, "db2", 2)
    picture = wavelets.mosaic(approx, details)
    coefficients = pywt.wavedec2(x[0].numpy(), "db2", "periodization", 2)
    np.testing.assert_allclose(picture[0], pywt.coeffs_to_array(coefficients)[0], atol=1e-12)
    shown = wavelets.mosaic(approx, [*details[:-1], 0 * details[-1]], normalise=True)
    assert shown.min() == 0 and shown.max() == 1
    assert (shown[:, 8:] == 0.5).all()  # zero is the middle grey, also where a band is empty


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_parents(dims):
    _, (coarse, fine) = dwt(_noise(2, *[16] * dims), "haar", 2, dims)
    above = wavelets.parents(coarse, dims)
    assert above.shape == fine.shape
    for index in itertools.product((0, 3, 6), repeat=dims):
        parent = coarse[(..., *(i // 2 for i in index))]
        torch.testing.assert_close(above[(..., *index)], parent)


@pytest.mark.parametrize("wavelet", ["haar", "db3"])
def test_packets_equal_pywavelets(wavelet):
    x = _noise(16, 32)
    tree = pywt.WaveletPacket2D(x.numpy(), wavelet, "periodization", 2)
    theirs = np.stack([node.data for row in tree.get_level(2, "freq") for node in row])
    np.testing.assert_allclose(wavelets.packets(x, wavelet, 2), theirs, atol=1e-12)
    line = pywt.WaveletPacket(x[0].numpy(), wavelet, "periodization", 3)
    theirs = np.stack([node.data for node in line.get_level(3, "freq")])
    np.testing.assert_allclose(wavelets.packets(x[0], wavelet, 3, 1), theirs, atol=1e-12)
    assert wavelets.packets(_noise(2, 8, 4, 16), wavelet, 1, 3).shape == (2, 8, 4, 2, 8)


def test_packets_equal_ptwt_and_are_ordered_by_frequency():
    x = _noise(2, 64)
    tree = ptwt.WaveletPacket(x, "haar", "zero", 3)
    theirs = torch.stack([tree[path] for path in tree.get_level(3, "freq")], 1)
    torch.testing.assert_close(wavelets.packets(x, "haar", 3, 1), theirs)
    t = torch.arange(1024, dtype=torch.float64)
    for band in range(8):
        tone = torch.cos(torch.pi * (band + 0.5) / 8 * t)
        energy = wavelets.packets(tone, "db10", 3, 1).square().sum(-1)
        assert energy.argmax() == band and energy.max() > 0.75 * energy.sum()


def test_whitening(tmp_path):
    x = torch.tensor([1e-4, 1.0, 1e5]).reshape(1, 3, 1, 1) * (3 + _noise(4, 3, 16, 8, dtype=torch.float32))
    whitening = Whitening.fit(x)
    white = whitening.apply(x)
    torch.testing.assert_close(white.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(white.std((0, 2, 3), correction=0), torch.ones(3))
    torch.testing.assert_close(whitening.invert(white), x)
    whitening.save(tmp_path / "folder" / "whitening.safetensors")
    loaded = Whitening.load(tmp_path / "folder" / "whitening.safetensors")
    assert torch.equal(loaded.mean, whitening.mean) and torch.equal(loaded.std, whitening.std)
    assert loaded.apply(x.double()).dtype == torch.float64


def test_whitening_refuses(tmp_path, monkeypatch):
    x = _noise(4, 3, 8, 8, dtype=torch.float32)
    constant = x.clone()
    constant[:, 1] = 0.1
    for bad, message in (
        (constant, r"\[1\] of x are constant"),
        (x * float("nan"), "NaN"),
        (x[:0], "shape"),
        (x[0, 0, 0], "shape"),
        (x.long(), "int64"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Whitening.fit(bad)
    with pytest.raises(InvalidInput, match="3 channels"):
        Whitening.fit(x).apply(x[:, :2])
    with pytest.raises(DataUnavailable, match="no whitening file"):
        Whitening.load(tmp_path / "missing.safetensors")
    file = tmp_path / "whitening.safetensors"
    file.write_bytes(b"not safetensors")
    with pytest.raises(DataCorrupt, match="not a readable safetensors"):
        Whitening.load(file)
    Whitening(torch.zeros(2), torch.zeros(2)).save(file)
    with pytest.raises(DataCorrupt, match="bad values"):
        Whitening.load(file)
    before = file.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wavelab.whitening.save_file", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        Whitening.fit(x).save(file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: dwt(x, "haarr"), UnknownName, "Did you mean 'haar'"),
        (lambda x: dwt(x, "mexh"), UnknownName, "no wavelet 'mexh'"),
        (lambda x: dwt(x, ["haar"]), UnknownName, "no wavelet"),
        (lambda x: wavelets.filters(None), UnknownName, "no wavelet None"),
        (lambda x: idwt(x, [], "db99"), UnknownName, "db99"),
        (lambda x: dwt(x[..., :13]), InvalidInput, "Axis 3 of x has 13 values.*nearest valid size is 12"),
        (lambda x: dwt(x[..., :15, :], levels=3), InvalidInput, "Axis 2 .*multiple of 8.*nearest valid size is 16"),
        (lambda x: dwt(x, levels=5), InvalidInput, "nearest valid size is 32"),
        (lambda x: dwt(x, levels=0), InvalidInput, "levels is 0"),
        (lambda x: dwt(x, levels=1.5), InvalidInput, "levels is 1.5"),
        (lambda x: dwt(x, levels=np.int64(5)), InvalidInput, "multiple of 32"),
        (lambda x: dwt(x, dims=4), InvalidInput, "dims is 4"),
        (lambda x: dwt(x[0, 0, 0]), InvalidInput, "at least 2 axes"),
        (lambda x: dwt(x[:0]), InvalidInput, r"shape \(0, 3, 16, 16\)"),
        (lambda x: dwt(x.long()), InvalidInput, "int64.*x.float()"),
        (lambda x: dwt(x.to(torch.complex64)), InvalidInput, "complex64"),
        (lambda x: dwt(x.numpy()), InvalidInput, "ndarray.*torch.as_tensor"),
        (lambda x: idwt(x, x), InvalidInput, "expected a list"),
        (lambda x: idwt(x, [x]), InvalidInput, r"details\[0\] has shape"),
        (lambda x: idwt(x, dwt(x, levels=2)[1]), InvalidInput, "coarsest first"),
        (lambda x: idwt(x, [torch.zeros(2, 3, 3, 16, 16, dtype=torch.float64)]), InvalidInput, "float64"),
        (lambda x: wavelets.pack(x, x), InvalidInput, "shape"),
        (lambda x: wavelets.pack(x[0, 0], torch.zeros(3, 16, 16)), InvalidInput, "channel axis"),
        (lambda x: wavelets.unpack(x), InvalidInput, "4 channels"),
        (lambda x: wavelets.unflatten(x, (5, 5), 1), InvalidInput, "16 values"),
        (lambda x: wavelets.mosaic(x, [x]), InvalidInput, "shape"),
        (lambda x: wavelets.packets(x[..., :12], "haar", 3), InvalidInput, "multiple of 8"),
        (lambda x: wavelets.packets(x, "bior9.9"), UnknownName, "bior9.9"),
        (lambda x: wavelets.analysis_matrix("nope", 8), UnknownName, "nope"),
        (lambda x: wavelets.analysis_matrix("haar", 7), InvalidInput, "n is 7"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(_noise(2, 3, 16, 16, dtype=torch.float32))


@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior6.8", "rbio3.1", "bior1.3"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_value_that_is_not_finite_slips_through(wavelet, value):
    for place in itertools.product((0, 1, 8, 15), repeat=2):
        x = torch.zeros(1, 1, 16, 16)
        x[(..., *place)] = value
        with pytest.raises(InvalidInput, match="NaN or infinite"):
            dwt(x, wavelet, 3)


def test_large_values_are_no_mistake():
    x = torch.full((1, 1, 16, 16), 1e37)  # finite, though their sum is not in float32
    assert dwt(x, "haar")[0].isfinite().all()


def test_taps_are_in_the_order_of_the_equation():
    x = _noise(16)
    for wavelet in ("db3", "bior2.2"):
        (low, high), (approx, (detail,)) = taps(wavelet), dwt(x, wavelet, 1, 1)
        for k in range(8):
            window = [x[(2 * k + i - len(low) // 2 + 1) % 16] for i in range(len(low))]
            assert approx[k] == pytest.approx(float(sum(h * v for h, v in zip(low, window, strict=True))))
            assert detail[0, k] == pytest.approx(float(sum(g * v for g, v in zip(high, window, strict=True))))
