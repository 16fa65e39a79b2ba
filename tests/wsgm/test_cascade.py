"""The cascade: exact inverse, whitening, exact Gaussian sampling through it, training, state, bad input."""

import json
from functools import partial

import pytest
import torch

from wavelab import diffusion, networks
from wavelab.errors import DataCorrupt, InvalidInput, UnknownName
from wavelab.wavelets import Whitening, dwt
from wavelab.wsgm import blocks, theory
from wavelab.wsgm.cascade import WHITENINGS, Cascade, training_loss

SPACES = {1: (32,), 2: (16, 32), 3: (8, 16, 8)}


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _data(dims, channels=2, batch=40, dtype=torch.float64):
    x = torch.randn(batch, channels, *SPACES[dims], generator=_generator(), dtype=dtype)
    scale = torch.tensor([3.0, 0.5], dtype=dtype)[:channels].reshape(1, -1, *[1] * dims)
    return scale * (x + 0.5 * x.roll(1, -1)) + 7


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("whitening", WHITENINGS)
@pytest.mark.parametrize("dims", SPACES)
def test_whitens_and_inverts_exactly(dims, whitening, wavelet):
    x = _data(dims)
    cascade = Cascade.fit(x, wavelet, 3, whitening, dims)
    pairs = cascade.analyse(x)
    bands = 2**dims - 1
    for j, (x_bar, x_j) in enumerate(pairs, 1):
        grid = tuple(n >> j for n in SPACES[dims])
        assert x_bar.shape == (40, 2 * bands, *grid) and x_j.shape == (40, 2, *grid)
        axes = [0, *range(2, 2 + dims)]
        torch.testing.assert_close(x_j.mean(axes), torch.zeros(2).double(), atol=1e-12, rtol=0)
        torch.testing.assert_close(x_j.var(axes, correction=0), torch.ones(2).double())
        if whitening == "joint":
            assert x_bar.square().mean() == pytest.approx(1)
            assert (cascade.details[j - 1].std == cascade.details[j - 1].std[0]).all()
        else:
            torch.testing.assert_close(x_bar.var(axes, correction=0), torch.ones(2 * bands).double())
            torch.testing.assert_close(x_bar.mean(axes), torch.zeros(2 * bands).double(), atol=1e-12, rtol=0)
    back = cascade.synthesise(pairs[-1][1], [x_bar for x_bar, _ in pairs])
    torch.testing.assert_close(back, x, atol=1e-11, rtol=0)
    torch.testing.assert_close(cascade.refine(pairs[1][1], pairs[1][0], 2), pairs[0][1], atol=1e-12, rtol=0)


def test_details_are_packed_band_after_band():
    x = _data(2)
    cascade = Cascade.fit(x, "db2", 2)
    _, details = dwt(x, "db2", 2)
    for (x_bar, _), detail, whitening in zip(cascade.analyse(x), reversed(details), cascade.details):
        raw = whitening.invert(x_bar)
        for band in range(3):
            torch.testing.assert_close(raw[:, 2 * band : 2 * band + 2], detail[:, :, band])


def _matrices(cascade, space):
    """The linear maps of the analysis, as matrices; exact for a cascade without means."""
    d = torch.Size(space).numel()
    pairs = cascade.analyse(torch.eye(d, dtype=torch.float64).reshape(d, 1, *space))
    return [(x_bar.flatten(1).T, x_j.flatten(1).T) for x_bar, x_j in pairs]


def _gaussian_scores(cascade, space, cov):
    """Exact scores of every factor for x ~ N(0, cov), and the covariance that N exact Euler steps leave."""
    pairs, scores, laws = _matrices(cascade, space), [], []
    for detail, low in pairs:
        cross, var = detail @ cov @ low.T, low @ cov @ low.T
        a = cross @ torch.linalg.inv(var)
        eigenvalues, v = torch.linalg.eigh(detail @ cov @ detail.T - a @ cross.T)
        laws.append((a, eigenvalues, v))
        scores.append(partial(_score, a=a, eigenvalues=eigenvalues, v=v))
    eigenvalues, v = torch.linalg.eigh(pairs[-1][1] @ cov @ pairs[-1][1].T)
    coarse = partial(_score, a=None, eigenvalues=eigenvalues, v=v)
    return coarse, scores, (pairs, laws, eigenvalues, v)


def _score(x, t, x_j=None, *, a, eigenvalues, v):
    shift = 0 if a is None else torch.exp(-t) * a @ x_j.flatten(1).double().T
    rest = v.T @ (x.flatten(1).double().T - shift)
    variance = torch.exp(-2 * t) * eigenvalues + 1 - torch.exp(-2 * t)
    return -(v @ (rest / variance[:, None])).T.reshape(x.shape).to(x)


def _kernel(eigenvalues, times):
    """Variance and gain of the mean after Euler-Maruyama with exact scores, one eigenvalue at a time."""
    h, rho = torch.ones_like(eigenvalues), torch.zeros_like(eigenvalues)
    for t, s in zip(times.flip(0)[:-1], times.flip(0)[1:]):
        variance = torch.exp(-2 * t) * eigenvalues + 1 - torch.exp(-2 * t)
        factor = 1 + (t - s) - 2 * (t - s) / variance
        h, rho = factor**2 * h + 2 * (t - s), factor * rho + 2 * (t - s) * torch.exp(-t) / variance
    return h, rho


def _output_covariance(laws, times):
    pairs, conditionals, eigenvalues, v = laws
    cov = v @ (_kernel(eigenvalues, times)[0][:, None] * v.T)  # of x_J
    for j in reversed(range(len(pairs))):
        detail, low = pairs[j]
        a, eigenvalues, v = conditionals[j]
        h, rho = _kernel(eigenvalues, times)
        a = v @ (rho[:, None] * (v.T @ a))
        joint = torch.cat([detail, low])  # inverts to x_{j-1}
        inner = torch.cat(
            [torch.cat([a @ cov @ a.T + v @ (h[:, None] * v.T), a @ cov], 1), torch.cat([cov @ a.T, cov], 1)]
        )
        to_x = torch.linalg.inv(joint) if j == 0 else pairs[j - 1][1] @ torch.linalg.pinv(joint)
        cov = to_x @ inner @ to_x.T
    return cov


@pytest.mark.parametrize(("space", "wavelet", "whitening"), [((16,), "db2", "joint"), ((8, 8), "haar", "per-channel")])
def test_sampling_with_exact_scores_gives_the_covariance_of_the_theory(space, wavelet, whitening):
    spectrum = sum(f**2 for f in torch.meshgrid(*(torch.fft.fftfreq(n).double() for n in space), indexing="ij"))
    spectrum = 1 / (0.01 + spectrum)
    spectrum /= spectrum.mean()
    d = spectrum.numel()
    basis = torch.eye(d, dtype=torch.float64).reshape(d, *space)
    axes = tuple(range(1, 1 + len(space)))
    cov = torch.fft.ifftn(torch.fft.fftn(basis, dim=axes) * spectrum, dim=axes).real.reshape(d, d)
    exact = blocks.levels_of(spectrum.numpy(), wavelet, 2, whitening)
    whiten = lambda std: Whitening(torch.zeros(len(std)).double(), std)  # noqa: E731
    stds = [torch.tensor([level.spectrum.mean() ** 0.5]) for level in exact]
    tables = tuple(whiten(torch.from_numpy(level.std)) for level in exact), tuple(map(whiten, stds))
    cascade = Cascade(wavelet, len(space), whitening, *tables)
    coarse, details, laws = _gaussian_scores(cascade, space, cov)
    process = diffusion.OU()
    times = diffusion.time_grid(process.T, 24)
    n = 20_000
    x = cascade.sample(coarse, details, process, times, (n, 1, *space), _generator(2)).flatten(1).double()
    expected = _output_covariance(laws, times)
    fourier = torch.fft.fftn(basis, dim=axes, norm="ortho").reshape(d, d)
    by_theory = theory.output_spectrum(spectrum.numpy(), times, wavelet, 2, whitening)
    in_fourier = (fourier.mH @ expected.to(fourier) @ fourier).diagonal().real.reshape(space)
    torch.testing.assert_close(in_fourier, torch.from_numpy(by_theory), atol=0, rtol=1e-8)
    got = x.T @ x / n
    error = 4.5 * ((expected.diagonal()[:, None] * expected.diagonal() + expected**2) / n).sqrt()
    assert ((got - expected).abs() < error).all()
    assert not ((got - cov).abs() < error).all()  # 24 steps are visibly not enough: the test can tell
    fine = _output_covariance(laws, diffusion.time_grid(process.T, 4000))
    torch.testing.assert_close(fine, cov, atol=0.01, rtol=0)


def test_networks_train_and_sample_in_their_shapes():
    x = _data(2, dtype=torch.float32)
    cascade = Cascade.fit(x, "haar", 2)
    process = diffusion.OU()
    loss = training_loss(process)
    coarse = networks.ScoreNet(2, 2, width=8, blocks=1)
    models = [networks.ScoreNet(6, 6, cond_channels=2, width=8, blocks=1) for _ in range(2)]
    at_start = loss(coarse, cascade.coarse_data(x), _generator())
    assert at_start.item() == pytest.approx(1, rel=0.05)  # a zero output: E |z|^2 / d
    x_bar, x_j = cascade.detail_data(x, 1)
    loss(models[0], (x_bar, x_j), _generator()).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in models[0].parameters())
    seen = []
    scores = [cascade.detail_score(m, j, process) for j, m in enumerate(models, 1)]
    images = cascade.sample(
        cascade.coarse_score(coarse, process), scores, process, diffusion.time_grid(5.0, 3), (4, 2, 16, 32),
        _generator(),
        callback=lambda name, step, t, x_t: seen.append((name, step, t, tuple(x_t.shape))),
    )  # fmt: skip
    assert images.shape == (4, 2, 16, 32) and images.isfinite().all()
    assert [name for name, *_ in seen] == ["x_2"] * 3 + ["x_bar_2"] * 3 + ["x_bar_1"] * 3
    assert seen[-1][2:] == (0.0, (4, 6, 8, 16)) and seen[2][2:] == (0.0, (4, 2, 4, 8))


def test_only_the_details_are_noised():
    x = _data(2, dtype=torch.float32)
    cascade = Cascade.fit(x, "haar", 1)
    x_bar, x_j = cascade.detail_data(x, 1)

    def model(x_t, log_noise, cond):
        assert torch.equal(cond, x_j) and not torch.equal(x_t, x_bar)
        return torch.zeros_like(x_t)

    training_loss(diffusion.OU())(model, (x_bar, x_j), _generator())


@pytest.mark.parametrize("sampler", [diffusion.ddim, diffusion.heun, diffusion.ancestral])
def test_any_sampler_serves(sampler):
    cascade = Cascade.fit(_data(1), "db2", 2, dims=1)
    white = lambda x, t, *cond: -x  # noqa: E731
    grid = diffusion.time_grid(5.0, 4)
    x = cascade.sample(white, [white, white], diffusion.OU(), grid, (3, 2, 64), _generator(), sampler=sampler)
    assert x.shape == (3, 2, 64) and x.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_goes_through_json_and_keeps_every_bit(dtype):
    x = _data(2, dtype=dtype)
    cascade = Cascade.fit(x, "db2", 2, "per-channel")
    again = Cascade.from_state(json.loads(json.dumps(cascade.state())))
    for (a, b), (c, d) in zip(cascade.analyse(x), again.analyse(x)):
        assert torch.equal(a, c) and torch.equal(b, d)
    assert again.state() == cascade.state()


def _broken(**changes):
    return {**Cascade.fit(_data(2), "haar", 2).state(), **changes}


@pytest.mark.parametrize(
    "state",
    [
        {},
        _broken(details=[]),
        _broken(conditions=_broken()["conditions"][:1]),
        _broken(details=_broken()["conditions"]),
        _broken(details=[{"mean": [0.0], "std": [-1.0]}] * 2),
        _broken(dims="two"),
    ],
)
def test_a_damaged_state_is_refused(state):
    with pytest.raises(DataCorrupt, match="state"):
        Cascade.from_state(state)


def _white(x, t, *cond):
    return -x


def _sample(shape=(1, 2, 16, 32), coarse=_white, details=(_white, _white), times=None):
    cascade = Cascade.fit(_data(2, dtype=torch.float32), "haar", 2)
    times = diffusion.time_grid(5.0, 2) if times is None else times
    return cascade.sample(coarse, details, diffusion.OU(), times, shape, _generator())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Cascade.fit(_data(2), "haar", 5), "16 values; 5 levels need a multiple of 32"),
        (lambda: Cascade.fit(_data(2)[0], "haar", 1), "batch, channels"),
        (lambda: Cascade.fit(_data(2), "bior2.2", 1), "bior2.2 is not orthogonal"),
        (lambda: Cascade.fit(_data(2), "dmey", 1), "dmey is not orthogonal"),
        (lambda: Cascade.fit(_data(2).round().long(), "haar", 1), "floating"),
        (lambda: Cascade.fit(torch.ones(4, 1, 8, 8), "haar", 1, "joint"), "variance 1"),
        (lambda: Cascade.fit(torch.ones(4, 1, 8, 8), "haar", 1), "constant"),
        (lambda: Cascade.fit(_data(2), "haar", 1).analyse(_data(2)[:, :1]), "expected 2 channels"),
        (lambda: Cascade.fit(_data(2), "haar", 2).analyse(_data(2)[..., :18]), "multiple of 4"),
        (lambda: Cascade.fit(_data(2), "haar", 2).detail_data(_data(2), 3), "no scale 3"),
        (lambda: Cascade.fit(_data(2), "haar", 2).synthesise(torch.zeros(1, 2, 4, 8), []), "0 scales; expected 2"),
        (
            lambda: Cascade.fit(_data(2), "haar", 1).refine(torch.zeros(1, 2, 4, 8), torch.zeros(1, 3, 4, 8), 1),
            r"\(1, 6, 4, 8\)",
        ),
        (lambda: _sample(shape=(1, 2, 18, 32)), "multiple of 4"),
        (lambda: _sample(shape=(1, 3, 16, 32)), "expected 2 channels"),
        (lambda: _sample(shape=(2, 16, 32)), "batch"),
        (lambda: _sample(details=[_white]), "1 detail scores; expected 2"),
        (lambda: _sample(details=[_white, lambda x, t, x_j: x_j]), r"x_bar_2 has shape \(1, 2, 4, 8\)"),
        (lambda: _sample(times=torch.tensor([0.0, 2.0, 1.0])), "increase"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_networks_of_other_channels_are_refused_with_both_sets():
    cascade = Cascade.fit(_data(2, dtype=torch.float32), "haar", 2)
    small = networks.ScoreNet(3, 3, cond_channels=1, width=8, blocks=1)
    with pytest.raises(InvalidInput, match=r"'in_channels': 3.*'in_channels': 6.*3 detail bands of scale 1"):
        cascade.detail_score(small, 1, diffusion.OU())
    with pytest.raises(InvalidInput, match="coarse image"):
        cascade.coarse_score(small, diffusion.OU())


def test_unknown_names():
    with pytest.raises(UnknownName, match="per-channel"):
        Cascade.fit(_data(2), "haar", 1, "per-chanel")
    with pytest.raises(UnknownName, match="haarr"):
        Cascade.fit(_data(2), "haarr", 1)
