"""Supervised networks: identities at the start, data consistency, parameter counts, learning, and bad input."""

import json
import math

import numpy as np
import pytest
import torch

from wavelab import networks
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical import classical, mri
from wavelab.medical.ct import CT, Parallel, fitted
from wavelab.medical.learned import REDCNN, DataConsistencyCascade, PrimalDual, supervised
from wavelab.medical.mri import MRI
from wavelab.medical.phantoms import thorax
from wavelab.training import Training, train

SIZE = 16
GENERATOR = torch.Generator()


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scan(real=True, seed=0):
    return MRI(mri.mask("gaussian", (SIZE, SIZE), 2, np.random.default_rng(seed)), real)


def complex_images(batch=2, seed=0):
    return torch.complex(draw(batch, 1, SIZE, SIZE, seed=seed), draw(batch, 1, SIZE, SIZE, seed=seed + 1))


@pytest.fixture(scope="module")
def ct():
    return CT(fitted(Parallel, SIZE, 1.0, 8))


@pytest.fixture(scope="module")
def pictures():
    return (thorax(4, SIZE, np.random.default_rng(0)) / 1000 + 1).float()


def awake(model, scale=0.2, seed=1):
    """Give every parameter random values, so that what starts at zero takes part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def conv_count(inputs, outputs, kernel=3):
    return (kernel**2 * inputs + 1) * outputs


SMALL = {
    "red-cnn": lambda: REDCNN(2, width=4, layers=3, kernel=3),
    "cascade": lambda: DataConsistencyCascade(4, 3, 2),
    "cascade-complex": lambda: DataConsistencyCascade(4, 2, 2, channels=2, weight=0.5),
    "primal-dual": lambda: PrimalDual(4, 2, 3, norm=9.0),
    "primal-dual-mri": lambda: PrimalDual(4, 2, 2, data_channels=2),
}


def call(model, ct, batch=2, seed=0):
    """Run a network of SMALL on measurements of random images, which it returns too."""
    if isinstance(model, REDCNN):
        x = draw(batch, 2, SIZE, SIZE, seed=seed).abs()
        return x, model(x)
    if isinstance(model, DataConsistencyCascade):
        real = model.config["channels"] == 1
        x = draw(batch, 1, SIZE, SIZE, seed=seed) if real else complex_images(batch, seed)
        return x, model(scan(real).A(x), scan(real))
    x = draw(batch, 1, SIZE, SIZE, seed=seed)
    physics = ct if model.config["data_channels"] == 1 else scan()
    return x, model(physics.A(x), physics, physics.A_adjoint(physics.A(x)))


@pytest.fixture(params=SMALL)
def model(request):
    return SMALL[request.param]()


def test_output_is_like_the_image(model, ct):
    x, out = call(model, ct)
    assert out.shape == x.shape and out.dtype == x.dtype


def test_gradients_reach_every_parameter(model, ct):
    x, out = call(awake(model), ct)
    (out - x).abs().square().mean().backward()
    # The last bias adds a constant. Every mask measures the zero frequency, so exact consistency replaces it.
    hard = isinstance(model, DataConsistencyCascade) and model.config["weight"] == 0
    last = {f"networks.{k}.4.bias" for k in range(2)} if hard else set()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert silent <= last


def test_configuration_survives_json(model):
    config = json.loads(json.dumps(model.config))
    again = networks.build(config)
    assert type(again) is type(model) and again.config == model.config == config
    again.load_state_dict(model.state_dict())


def test_samples_do_not_mix(model, ct):
    awake(model)
    _, together = call(model, ct, batch=2, seed=3)
    _, alone = call(model, ct, batch=1, seed=3)
    torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-4 * float(together.detach().abs().max()))


def test_seed_gives_the_weights_and_leaves_the_global_state():
    state = torch.get_rng_state()
    for kind in (REDCNN, DataConsistencyCascade, PrimalDual):
        one, same, other = (list(kind(4, seed=seed).parameters()) for seed in (3, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("channels", "width", "layers", "kernel"), [(1, 96, 5, 5), (2, 8, 4, 3), (1, 8, 1, 3)])
def test_red_cnn_has_the_published_size(channels, width, layers, kernel):
    inner = 2 * (layers - 1) * conv_count(width, width, kernel)
    expected = conv_count(channels, width, kernel) + inner + conv_count(width, channels, kernel)
    assert networks.count(REDCNN(channels, width, layers, kernel)) == expected
    if width == 96:
        assert expected == 1_848_865


def test_fresh_red_cnn_returns_what_is_not_negative():
    x = draw(2, 1, 20, 13)
    assert torch.equal(REDCNN(width=8)(x), x.clamp_min(0))


def test_red_cnn_has_its_short_cuts():
    model = awake(REDCNN(width=4, layers=5, kernel=3))
    outputs = []
    h = x = draw(1, 1, 9, 9).abs()
    for layer in model.encoder:
        h = torch.relu(layer(h))
        outputs.append(h)
    h = torch.relu(model.decoder[4](h) + outputs[3])
    h = torch.relu(model.decoder[2](torch.relu(model.decoder[3](h))) + outputs[1])
    torch.testing.assert_close(model(x), torch.relu(model.decoder[0](torch.relu(model.decoder[1](h))) + x))


@pytest.mark.parametrize("real", [True, False])
def test_fresh_exact_cascade_is_least_squares(real):
    y = scan(real).A(draw(2, 1, SIZE, SIZE) if real else complex_images())
    model = DataConsistencyCascade(4, 2, 3, channels=1 if real else 2)
    torch.testing.assert_close(model(y, scan(real)), scan(real).least_squares(y), rtol=0, atol=1e-5)


@pytest.mark.parametrize("real", [True, False])
def test_exact_cascade_keeps_what_is_measured(real):
    s = scan(real)
    y = s.A(draw(2, 1, SIZE, SIZE) if real else complex_images())
    model = awake(DataConsistencyCascade(4, 3, 2, channels=1 if real else 2))
    out = model(y, s)
    torch.testing.assert_close(s.A(out), y, rtol=0, atol=1e-4)
    assert (out - s.least_squares(y)).abs().max() > 0.1  # and the network fills in the rest


def test_a_weight_leaves_its_share_to_the_network():
    s, y = scan(real=False), scan(real=False).A(complex_images())
    model = awake(DataConsistencyCascade(4, 2, 1, channels=2, weight=3.0))
    with torch.no_grad():
        model.log_weight.fill_(math.log(3.0))
        out, z = model(y, s), s.A_adjoint(y)
        z = z + torch.complex(*model.networks[0](torch.cat([z.real, z.imag], 1)).split(1, 1))
        torch.testing.assert_close(out, s.prox(y, z, 3.0), rtol=1e-4, atol=1e-4)


def test_cascade_and_primal_dual_have_their_parameters():
    block = conv_count(1, 8) + 3 * conv_count(8, 8) + conv_count(8, 1)
    assert networks.count(DataConsistencyCascade(8, 5, 5)) == 5 * block
    assert networks.count(DataConsistencyCascade(8, 5, 5, weight=0.1)) == 5 * block + 5
    dual = conv_count(7, 8) + conv_count(8, 8) + conv_count(8, 5) + 16
    primal = conv_count(6, 8) + conv_count(8, 8) + conv_count(8, 5) + 16
    assert networks.count(PrimalDual(8, 3, 5)) == 3 * (dual + primal)


def test_fresh_primal_dual_returns_the_start(ct):
    start = draw(2, 1, SIZE, SIZE)
    assert torch.equal(PrimalDual(4)(ct.A(start), ct, start), start)


def test_primal_dual_does_not_depend_on_the_operators_unit(ct, pictures):
    class Metres:
        def A(self, x):
            return ct.A(x) / 1000

        def A_adjoint(self, y):
            return ct.A_adjoint(y) / 1000

    norm = math.sqrt(classical.norm(ct, (SIZE, SIZE)))
    one, other = awake(PrimalDual(4, 2, norm=norm)), awake(PrimalDual(4, 2, norm=norm / 1000))
    y = ct.A(pictures)
    out = one(y, ct, pictures)
    torch.testing.assert_close(other(y / 1000, Metres(), pictures), out, rtol=1e-3, atol=1e-4)
    assert (out - pictures).abs().max() > 0.01


def fit(model, loss, data, folder, rate=3e-3, steps=30):
    """Return the loss before and after a short training on a few images."""
    before = float(loss(model, data, GENERATOR).detach())
    train(model, loss, data, Training(steps, len(data[0]), rate, "constant", 0, 0.0), folder, progress=False)
    with torch.no_grad():
        return before, float(loss(model, data, GENERATOR))


def test_red_cnn_learns(pictures, tmp_path):
    noisy = (pictures + 0.3 * draw(*pictures.shape)).clamp_min(0)
    before, after = fit(REDCNN(width=8), supervised(), (noisy, pictures), tmp_path)
    assert after < before / 2


def test_cascade_learns(pictures, tmp_path):
    before, after = fit(
        DataConsistencyCascade(8, 3, 2), supervised(scan()), (scan().A(pictures), pictures), tmp_path, 0.01
    )
    assert after < before / 2


def test_complex_cascade_learns_its_weights(tmp_path):
    s, x = scan(real=False), complex_images(4)
    y = s.A(x) + s.mask * mri.noise(s.A(x), 1.0, torch.Generator().manual_seed(0))
    model = DataConsistencyCascade(4, 2, 2, channels=2, weight=0.1)
    before, after = fit(model, supervised(s), (y, x), tmp_path, 0.03)
    assert after < 0.9 * before and (model.log_weight.exp() > 0.12).all()  # the noise is as strong as the images


def test_primal_dual_learns(ct, pictures, tmp_path):
    y = ct.A(pictures) + 0.5 * draw(4, 1, *ct.beam.sinogram_shape)
    model = PrimalDual(8, 2, 3, norm=math.sqrt(classical.norm(ct, (SIZE, SIZE))))
    before, after = fit(model, supervised(ct), (y, ct.fbp(y), pictures), tmp_path, 0.01)
    assert after < before / 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: REDCNN(width=0), "width is 0; give an integer of at least 1"),
        (lambda: REDCNN(kernel=4), "kernel is 4; give an odd one"),
        (lambda: DataConsistencyCascade(cascades=0), "cascades is 0"),
        (lambda: DataConsistencyCascade(depth=1), "depth is 1, .*give at least 2 convolutions"),
        (lambda: DataConsistencyCascade(channels=3), "channels 3, .*1 channel for real images or 2 for complex"),
        (lambda: DataConsistencyCascade(weight=-1.0), r"weight -1\.0; .*not negative"),
        (lambda: DataConsistencyCascade(weight=math.nan), "weight nan"),
        (lambda: PrimalDual(memory=1, data_channels=2), "memory 1, .*give 1 for sinograms or 2 for k-space, a memory"),
        (lambda: PrimalDual(data_channels=3), "data_channels is 3"),
        (lambda: PrimalDual(norm=0.0), r"norm 0\.0; .*the operator's norm, a positive"),
    ],
)
def test_impossible_options(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_measurements_that_do_not_fit(ct):
    s = scan()
    y, start = ct.A(draw(2, 1, SIZE, SIZE)), draw(2, 1, SIZE, SIZE)
    with pytest.raises(InvalidInput, match=r"REDCNN\.encoder\[0\]: x has shape \(2, 3, 8, 8\); expected \(batch, 1 ch"):
        REDCNN(width=4)(draw(2, 3, 8, 8))
    with pytest.raises(InvalidInput, match="with channels=1 give an MRI of real images"):
        DataConsistencyCascade(4)(s.A(start), scan(real=False))
    with pytest.raises(InvalidInput, match="with channels=2 give an MRI of complex images"):
        DataConsistencyCascade(4, channels=2)(s.A(start), s)
    with pytest.raises(InvalidInput, match=r"k-space: x has shape \(2, 1, 16, 16\); expected \(batch, 2 channels"):
        DataConsistencyCascade(4)(start, s)
    with pytest.raises(InvalidInput, match=r"dual\[0\]: x has shape \(2, 2, 16, 16\)"):
        PrimalDual(4)(s.A(start), s, start)
    with pytest.raises(InvalidInput, match=r"dual\[0\]: .*expected \(batch, 2 channels"):
        PrimalDual(4, data_channels=2)(y, ct, start)
    with pytest.raises(InvalidInput, match=r"primal\[0\]: x has shape \(2, 16, 16\)"):
        PrimalDual(4)(y, ct, start[:, 0])
    with pytest.raises(InvalidInput, match=r"dual: y has shape \(2, 1, 8, 22\), but physics measures \(2, 1, 8, 23\)"):
        PrimalDual(4)(y[..., 1:], ct, start)
    with pytest.raises(InvalidInput, match="and as many starts"):
        PrimalDual(4)(y, ct, start[:1])


def test_batches_that_do_not_fit():
    x = draw(2, 1, 8, 8)
    with pytest.raises(InvalidInput, match="tuple of inputs, then targets"):
        supervised()(REDCNN(width=4), x, GENERATOR)
    with pytest.raises(InvalidInput, match=r"REDCNN gave \(2, 1, 8, 8\) for clean \(1, 1, 8, 8\)"):
        supervised()(REDCNN(width=4), (x, x[:1]), GENERATOR)


@pytest.fixture
def known(monkeypatch):
    """Forget the networks that a test defines."""
    monkeypatch.setattr(networks.Network, "known", dict(networks.Network.known))
    return networks.Network.known


def test_a_network_is_known_by_its_name(known):
    def define(bias):
        class Tiny(networks.Network):
            def __init__(self, width=3, seed=0):
                super().__init__({"width": width})
                self.layer = torch.nn.Linear(width, 1, bias=bias)

        return Tiny

    first = define(True)
    assert networks.build({"class": "Tiny", "width": 5}).layer.in_features == 5
    assert known["Tiny"] is first and isinstance(
        networks.build({"class": "UNet", "in_channels": 1, "out_channels": 1}), networks.UNet
    )
    again = define(False)  # as when a notebook's cell runs twice
    assert known["Tiny"] is again
    with pytest.raises(UnknownName, match=r"no option of Tiny 'widht'\. Did you mean 'width'"):
        networks.build({"class": "Tiny", "widht": 5})


def test_two_networks_of_one_name_are_refused(known):
    with pytest.raises(InvalidInput, match=r"test_learned defines a network REDCNN, but wavelab\.medical\.learned has"):
        type("REDCNN", (networks.Network,), {"__module__": __name__, "__qualname__": "REDCNN"})
    assert known["REDCNN"] is REDCNN
