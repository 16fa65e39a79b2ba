"""The study of Part 4: what each score learns from, and how it is trained.

Chapters "Learning from noisy data" to "MRI" share it. There is one set of training scans a body, and every mode learns
from the same noisy images but ``clean``, which sees the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wavelab import networks
from wavelab.checkpoints import load_or_train
from wavelab.errors import UnknownName
from wavelab.manifest import Manifest
from wavelab.medical import mri, wavelet_sgm
from wavelab.medical.ct import low_dose
from wavelab.medical.mri import MRI
from wavelab.medical.mwcnn import MWCNN
from wavelab.medical.scans import LEVELS, PROCESS, Scans, noisy_images, reconstruct, sample, scan_ct, scan_mri
from wavelab.medical.slices import brain_slices, chest_slices, posed
from wavelab.runtime import Run
from wavelab.training import History, Training, train

PHOTONS = 5e3  # a bin of the low-dose scans counts without a patient
NOISE = 0.1  # of k-space, for a brain whose brightest tissue is 1
TRUST = 2.0  # strength of the prior in samples that are fed back
NOISY_STRENGTH = 4.0  # for a score that has learnt the noise; close to the best on validation scans of the chest
BORDER = 1.2  # of relabelling in hybrid, in units of the largest noise
POSES = 6  # of every brain slice; the template's slices are too few to learn from and too alike
RATES = {"first": 2e-3, "again": 1e-3, "wavelet": 1e-3, "front_end": 2.5e-4}  # of learning, in the stages of a mode
MODES = ("clean", "noisy", "relabel", "feedback", "denoised", "wavelet", "hybrid", "paper")
ONCE = ("feedback", "paper")  # modes that were trained with one seed


class Material(NamedTuple):
    """What the scores of one body learn from.

    Attributes:
        scans: the training scans; only ``clean`` may look at their ``truth``.
        images: noisy images made from them.
        deviation: standard deviations of the measurements.
        spectrum: variance of the noise of ``images`` at each frequency, measured on simulated noise; one number where
            the noise is white.
        settings: how the scans were made; a part of what identifies a model that learnt from them.
    """

    scans: Scans
    images: Tensor
    deviation: Tensor
    spectrum: Tensor
    settings: Mapping[str, Any] = MappingProxyType({})

    def probe(self, batch: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        """Draw noise like that of the images of a batch ``(images, deviation)``."""
        y, deviation = self.scans.y, batch[1]
        if isinstance(self.scans.physics, MRI):
            noise = mri.noise(
                torch.zeros(len(deviation), *y.shape[1:], dtype=y.dtype, device=generator.device), 1.0, generator
            )
        else:
            noise = torch.randn(deviation.shape, generator=generator, device=generator.device)
        return noisy_images(self.scans.physics, deviation * noise.to(y.device))


def chest_material(size: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Material:
    """Scan the training slices of the chest at low dose."""
    truth, pixel = chest_slices("train", size)
    scans = scan_ct(truth.to(device), low_dose(size, pixel), PHOTONS, generator)
    return material(scans, generator)._replace(settings={"photons": PHOTONS})


def brain_material(
    size: int, generator: torch.Generator, device: torch.device | str = "cpu", poses: int = POSES
) -> Material:
    """Scan the training slices of the brain fully, with noise, each in several random poses."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator, device=generator.device)))
    images = posed(brain_slices("train", min(192, 2 * size))[0], poses, rng, size)
    scans = scan_mri(images.to(device), torch.ones(size, size, dtype=torch.bool), NOISE, generator)
    return material(scans, generator)._replace(settings={"noise": NOISE, "poses": poses})


def material(scans: Scans, generator: torch.Generator) -> Material:
    """Turn scans into noisy images and measure the spectrum of their noise."""
    found = Material(scans, noisy_images(scans.physics, scans.y), scans.weight.rsqrt(), torch.zeros(1))
    if isinstance(scans.physics, MRI):
        found = found._replace(deviation=found.deviation * 2**0.5)  # of complex noise
    noise = [found.probe((found.images, found.deviation), generator) for _ in range(8)]
    spectrum = wavelet_sgm.noise_spectrum(torch.cat(noise))
    white = isinstance(scans.physics, MRI) and bool(scans.physics.mask.all())
    return found._replace(spectrum=spectrum.mean() if white else spectrum)


@dataclass(frozen=True)
class Setup:
    """Sizes of the networks and lengths of the trainings on one profile.

    Attributes:
        size: pixels a side.
        width: channels of the score network.
        mults: see :class:`wavelab.networks.UNet`.
        wavelet: channels of the wavelet network.
        updates: of a score before any feedback.
        rounds: of feedback.
        more: updates of a score in every round; modes without feedback get as many in all, ``relabel`` its share.
        feedback: what goes back, ``"samples"`` of the posterior or ``"point"`` estimates as in the paper.
        denoise: updates of the wavelet network.
        batch: images an update.
    """

    size: int = 128
    width: int = 16
    mults: tuple[int, ...] = (1, 2, 2)
    wavelet: int = 16
    updates: int = 2000
    rounds: int = 3
    more: int = 500
    feedback: str = "samples"
    denoise: int = 1500
    batch: int = 4

    @property
    def total(self) -> int:
        """Updates of a score in all."""
        return self.updates + self.rounds * self.more


SETUPS = {
    "smoke": Setup(32, 8, (1, 2), 4, updates=4, rounds=1, more=2, denoise=4),
    "cpu": Setup(),
    "gpu": Setup(256, 64, (1, 2, 2, 4), 32, updates=60_000, rounds=3, more=10_000, denoise=30_000, batch=16),
}


class Student:
    """The trained networks of one body, each loaded where it is shipped and trained where it is not.

    Args:
        run: the chapter's run.
        prefix: of the checkpoints, such as ``"14-ct"``.
        material: what there is to learn from.
        data: ids of the registered data sets behind it.
        setup: sizes; left out, those of the run's profile.
    """

    def __init__(self, run: Run, prefix: str, material: Material, data: Sequence[str], setup: Setup | None = None):
        """Keep the arguments."""
        self.run, self.prefix, self.material, self.data = run, prefix, material, list(data)
        self.setup = setup or SETUPS[run.profile]
        self._known: dict[str, tuple[nn.Module, Manifest]] = {}

    def score(self, mode: str, seed: int = 0) -> tuple[nn.Module, Manifest]:
        """Return the score network of a mode.

        ``denoised`` and ``wavelet`` begin alike, with images ``W(y)``. In its rounds ``denoised`` sees them again,
        ``wavelet`` what it makes of the training scans; ``hybrid`` goes on from there with relabelled images above the
        noise. ``feedback`` has the rounds without the wavelet network. The others are those of
        :mod:`wavelab.medical.wavelet_sgm`.

        Raises:
            UnknownName: there is no such mode.
        """
        if mode not in MODES:
            raise UnknownName.among("mode", mode, MODES)
        net = self._unet(seed)
        if mode == "paper":
            net = wavelet_sgm.FrontEnd(self._unet(seed).config, self._mwcnn(seed).config, seed=seed)
        return self._learned(mode, net, seed, lambda net, folder: getattr(self, f"_fit_{mode}")(net, folder, seed))

    def wavelet(self, seed: int = 0) -> tuple[nn.Module, Manifest]:
        """Return the wavelet network, trained by Stein's estimate on noisy images alone."""
        loss = wavelet_sgm.sure_loss(self.material.probe)
        data = (self.material.images, self.material.deviation)
        training = self._training(self.setup.denoise, seed, RATES["wavelet"])
        return self._learned("W", self._mwcnn(seed), seed, lambda net, folder: train(net, loss, data, training, folder))

    def _fit_clean(self, net, folder, seed):
        return self._fit(net, self._denoising(), self.material.scans.truth, self.setup.total, seed, folder)

    def _fit_noisy(self, net, folder, seed):
        return self._fit(net, self._denoising(), self.material.images, self.setup.total, seed, folder)

    def _fit_relabel(self, net, folder, seed):
        """Train the levels above the noise, each as often as in the other modes; more would be learnt by heart."""
        low, high = LEVELS
        floor = max(low, float(self.material.spectrum.max()) ** 0.5)
        steps = math.ceil(self.setup.total * math.log(high / floor) / math.log(high / low))
        loss = wavelet_sgm.relabel_loss(PROCESS, low, high, self.material.spectrum)
        return self._fit(net, loss, self.material.images, steps, seed, folder)

    def _fit_denoised(self, net, folder, seed):
        images = in_parts(self.wavelet(seed)[0], self.material.images)
        return self._rounds(self._first(net, seed), folder, seed, lambda net, seed: images)

    def _fit_wavelet(self, net, folder, seed):
        return self._rounds(self._first(net, seed), folder, seed, self._fed_back)

    def _fit_feedback(self, net, folder, seed):
        first = self._fit(net, self._denoising(), self.material.images, self.setup.updates, seed, folder / "noisy")
        return joined([first, self._rounds(net, folder, seed, self._fed_back)])

    def _first(self, net, seed):
        """Put into ``net`` the weights with which ``denoised`` and ``wavelet`` begin."""

        def fit(net, folder):
            images = in_parts(self.wavelet(seed)[0], self.material.images)
            return self._fit(net, self._denoising(), images, self.setup.updates, seed, folder)

        net.load_state_dict(self._learned("first", self._unet(seed), seed, fit)[0].state_dict())
        return net

    def _rounds(self, net, folder, seed, images):
        histories = []
        for k in range(self.setup.rounds):
            part = folder / f"round-{k}"
            data = images(net, 100 * seed + k)
            histories.append(self._fit(net, self._denoising(), data, self.setup.more, seed, part, RATES["again"]))
        return joined(histories)

    def _fed_back(self, net, seed):
        if self.setup.feedback == "point":
            return reconstruct(net, self.material.scans)
        return sample(net, self.material.scans, self.run.generator(seed, seed=0), strength=TRUST)

    def _fit_hybrid(self, net, folder, seed):
        net.load_state_dict(self.score("wavelet", seed)[0].state_dict())
        images = self._fed_back(net, 100 * seed + self.setup.rounds)
        loss = wavelet_sgm.relabel_loss(PROCESS, *LEVELS, self.material.spectrum, clean=True, border=BORDER)
        return self._fit(net, loss, (self.material.images, images), self.setup.more, seed, folder, RATES["again"])

    def _fit_paper(self, net, folder, seed):
        """Train as released: jointly on noisy images, then the front end on reconstructions, then jointly again."""
        first = self._fit(net, self._denoising(), self.material.images, self.setup.updates, seed, folder / "joint")
        net.active = False
        images = reconstruct(net, self.material.scans, strength=NOISY_STRENGTH)
        net.active = True
        pairs = (self.material.images, images)
        loss, rate = wavelet_sgm.feedback_loss, RATES["front_end"]
        back = self._fit(net.wavelet, loss, pairs, self.setup.more, seed, folder / "feedback", rate)
        again = self._fit(net, self._denoising(), self.material.images, self.setup.more, seed, folder / "again")
        return joined([first, back, again])

    def _fit(self, net, loss, data, steps, seed, folder, rate=RATES["first"]) -> History:
        return train(net, loss, data, self._training(steps, seed, rate), folder)

    def _training(self, steps: int, seed: int, rate: float) -> Training:
        return Training(steps, self.setup.batch, rate, seed=seed, checkpoint_every=100)

    def _denoising(self):
        return wavelet_sgm.score_loss(PROCESS, *LEVELS)

    def _unet(self, seed: int) -> nn.Module:
        return networks.UNet(1, 1, width=self.setup.width, mults=self.setup.mults, padding="zeros", seed=seed)

    def _mwcnn(self, seed: int) -> nn.Module:
        return MWCNN(1, self.setup.wavelet, 2, seed=seed)

    def _learned(self, name: str, net: nn.Module, seed: int, fit) -> tuple[nn.Module, Manifest]:
        full = f"{self.prefix}-{name}-{seed}"
        config = {**asdict(self.setup), "mults": list(self.setup.mults), "seed": seed, "mode": name}
        config |= {"levels": list(LEVELS), "rates": RATES, **self.material.settings}
        if name in ("feedback", "wavelet", "hybrid"):
            config["trust"] = TRUST
        config |= {"paper": {"strength": NOISY_STRENGTH}, "hybrid": {"border": BORDER}}.get(name, {})
        if full not in self._known:
            self._known[full] = load_or_train(full, net, fit, run=self.run, data=self.data, config=config)
        return self._known[full]


@torch.no_grad()
def in_parts(net: nn.Module, x: Tensor, batch: int = 10) -> Tensor:
    """Apply a network to many images."""
    return torch.cat([net(part) for part in x.split(batch)])


def joined(histories: Sequence[History]) -> History:
    """Put the histories of several stages one behind the other."""
    steps, losses, done = [], [], 0
    for one in histories:
        steps += [done + k for k in one.steps]
        losses += one.losses
        done = steps[-1] if steps else done
    return History(steps, losses, sum(h.seconds for h in histories), sum(h.cpu_seconds for h in histories))
