"""The contest of Part 4: all methods on the same test scans, each tuned on the same validation scans.

Tuning and testing take hours, so both are kept in tables (:meth:`wavelab.runtime.Run.measured`); what a table lacks is
measured when it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wavelab.errors import InvalidInput, UnknownName
from wavelab.manifest import Manifest
from wavelab.medical import compare, taught
from wavelab.medical.ct import CT
from wavelab.medical.regularise import wavelet_tv
from wavelab.medical.scans import Scans, reconstruct, sample
from wavelab.medical.study import MODES, ONCE, Student
from wavelab.metrics import Interval
from wavelab.runtime import Run

STRENGTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)


class Entry(NamedTuple):
    """One method of the contest.

    Attributes:
        method: ``method(scans, seed, **setting)`` returns images.
        grid: the settings that are tried.
        needs: what it learns from: ``"nothing"``, ``"noisy scans"`` or ``"clean images"``.
        seeds: how many it is repeated with.
        tag: what identifies its network for a seed, such as the hash of its weights.
    """

    method: Callable[..., Tensor]
    grid: Sequence[Mapping[str, Any]]
    needs: str = "nothing"
    seeds: int = 1
    tag: Callable[[int], str] = lambda seed: ""


class Contest:
    """Methods, scans, and what was measured.

    Args:
        run: the chapter's run.
        entries: methods by name.
        validation: scans to tune on.
        test: scans to judge on.
        high: largest value of an image, and the data range of PSNR and SSIM.
        settings: what the tables depend on besides, such as the scanner.
        again: measure anew instead of reading the shipped tables.
    """

    def __init__(
        self,
        run: Run,
        entries: Mapping[str, Entry],
        validation: Scans,
        test: Scans,
        high: float,
        settings: Mapping[str, Any],
        again: bool = False,
    ) -> None:
        """Keep the arguments."""
        self.run, self.entries, self.validation, self.test, self.high = run, dict(entries), validation, test, high
        self.settings = {**settings, "validation": len(validation.truth), "test": len(test.truth)}
        self.again = again

    def setting(self, name: str) -> dict[str, Any]:
        """Return the setting of a method that is best on the validation scans."""
        return dict(self._entry(name).grid[int(np.argmax(self.tuning(name)))])

    def chosen(self, name: str) -> str:
        """Return what tuning chose for a method, as words: ``"weight 8, steps 150"``; bounds are left out."""
        parts = [(k, v) for k, v in self.setting(name).items() if k != "high"]
        return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in parts)

    def tuning(self, name: str) -> list[float]:
        """Return the mean PSNR on the validation scans of each setting of a method's grid, with seed 0."""
        entry = self._entry(name)
        grid = [dict(one) for one in entry.grid]
        return [0.0] if len(grid) == 1 else self._measured("tuning", self._tuned, name, grid, entry.tag(0))

    def result(self, name: str, seed: int = 0) -> dict[str, Any]:
        """Return ``{"psnr": [...], "ssim": [...], "seconds": ...}`` on the test scans; seconds are a scan's."""
        return self._measured("test", self._tested, name, seed, self.setting(name), self._entry(name).tag(seed))

    def table(self, name: str, quantity: str = "psnr") -> np.ndarray:
        """Return a quantity of the test scans for all seeds of a method, shape ``(seeds, scans)``."""
        return np.array([self.result(name, seed)[quantity] for seed in range(self._entry(name).seeds)])

    def images(self, name: str, scans: Scans, seed: int = 0) -> Tensor:
        """Reconstruct scans with a method at its best setting, now."""
        return self._entry(name).method(scans, seed, **self.setting(name))

    def _measured(self, table: str, measure: Callable[..., Any], *point: Any) -> Any:
        return self.run.measured(table, measure, [point], self.settings, self.again)[0]

    def _tuned(self, name: str, grid: list[dict[str, Any]], tag: str) -> list[float]:
        method = self._entry(name).method
        return compare.tune(lambda scans, **setting: method(scans, 0, **setting), grid, self.validation, self.high)[1]

    def _tested(self, name: str, seed: int, setting: dict[str, Any], tag: str) -> dict[str, Any]:
        before = _now()
        images = self._entry(name).method(self.test, seed, **setting)
        seconds = (_now() - before) / len(images)
        return {**compare.judge(images, self.test.truth, self.high), "seconds": seconds}

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise UnknownName.among("method", name, self.entries)
        return self.entries[name]


def _now() -> float:
    """Return the time in seconds once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def classical_entries(physics: Any, high: float, steps: int, prior_steps: int, scale: float = 1.0) -> dict[str, Entry]:
    """Return the methods that learn nothing.

    Args:
        physics: the scanner, for which of FBP and zero-filling comes first.
        high: largest value of an image.
        steps: iterations of the penalised methods.
        prior_steps: steps of the deep image prior.
        scale: multiplies the weights of the penalties, which suit images in units of water at low dose.
    """
    weights = [scale * w for w in (2.0, 4.0, 6.0, 8.0, 11.0, 16.0, 22.0, 32.0)]
    filters = [{"filter": f, "cutoff": c} for f in ("ramp", "hann") for c in (1.0, 0.8, 0.6, 0.4)]
    common = {"high": high}
    penalised = [{"weight": w, "steps": steps, **common} for w in weights]
    learning = [{"steps": prior_steps, "learning_rate": rate} for rate in (0.002, 0.004)]
    ct = isinstance(physics, CT)
    often = (6, 12, 25, 50, 75, 100, 150, 250) if ct else (1, 2, 3, 4, 6, 12, 25, 50)  # k-space needs few steps
    stops = [{"steps": n, **common} for n in often]
    first = (
        {"FBP": Entry(_plain(compare.analytic), filters)}
        if ct
        else {"zero-filled": Entry(_plain(compare.analytic), [{}])}
    )
    return first | {
        "least squares": Entry(_plain(compare.least_squares), stops),
        "FISTA, TV": Entry(_plain(compare.total_variation), penalised),
        "FISTA, wavelets": Entry(_plain(compare.wavelet_l1), penalised),
        "DIP": Entry(lambda scans, seed, **s: compare.image_prior(scans, seed=seed, **s), learning),
    }


def _plain(method: compare.Method) -> Callable[..., Tensor]:
    return lambda scans, seed, **setting: method(scans, **setting)


def score_entries(
    student: Student, seeds: int, modes: Sequence[str] = MODES, strengths: Sequence[float] = STRENGTHS
) -> dict[str, Entry]:
    """Return plug-and-play reconstruction with the scores of a student; a relabelled one stops above its noise.

    Every mode is tried at all ``strengths`` of the prior. With ``paper`` comes ``"paper, front end off"``, its score
    network alone, as the released code reconstructs.
    """
    edge = 1.05 * float(student.material.spectrum.max()) ** 0.5

    def entry(name: str) -> Entry:
        mode = name.split(",")[0]
        levels = {"end": edge, "top": 3 * edge} if mode == "relabel" else {}
        grid = [{"strength": strength, **levels} for strength in strengths]

        def method(scans: Scans, seed: int, **setting: Any) -> Tensor:
            net = student.score(mode, seed)[0]
            return reconstruct(net if name == mode else net.score, scans, **setting)

        needs = "clean images" if mode == "clean" else "noisy scans"
        return Entry(method, grid, needs, 1 if mode in ONCE else seeds, _tag(student, mode))

    names = [*modes, *(["paper, front end off"] if "paper" in modes else [])]
    return {name: entry(name) for name in names}


def sampler_entries(student: Student) -> dict[str, Entry]:
    """Return single posterior samples: by predictor and corrector (SDE), and by annealed Langevin steps (DSM)."""

    def entry(sampler: Callable[..., Tensor], mode: str) -> Entry:
        def method(scans: Scans, seed: int, strength: float) -> Tensor:
            generator = torch.Generator(scans.y.device).manual_seed(70 + seed)
            return sampler(student.score(mode, seed)[0], scans, generator, strength=strength)

        needs = "clean images" if mode == "clean" else "noisy scans"
        return Entry(method, [{"strength": s} for s in (0.25, 0.5, 1.0, 2.0, 4.0)], needs, 1, _tag(student, mode))

    return {
        "SDE": entry(compare.predictor_corrector, "clean"),
        "DSM": entry(compare.annealed_langevin, "clean"),
        "DSM, noisy": entry(compare.annealed_langevin, "noisy"),
        "DSM, wavelet": entry(compare.annealed_langevin, "wavelet"),
    }


def mean_entries(student: Student, modes: Sequence[str], draws: int) -> dict[str, Entry]:
    """Return means of posterior samples, ``"clean, mean"`` and so on.

    With the right prior the posterior's mean has the least squared error of all estimates; that of a few draws is near.
    """

    def entry(mode: str) -> Entry:
        def method(scans: Scans, seed: int, strength: float, draws: int) -> Tensor:
            net, generator = student.score(mode, seed)[0], torch.Generator(scans.y.device).manual_seed(80 + seed)
            return sum(sample(net, scans, generator, strength=strength) for _ in range(draws)) / draws

        needs, grid = "clean images" if mode == "clean" else "noisy scans", (0.25, 0.5, 1.0, 2.0, 4.0)
        return Entry(method, [{"strength": s, "draws": draws} for s in grid], needs, 1, _tag(student, mode))

    return {f"{mode}, mean": entry(mode) for mode in modes}


def regularised_entry(student: Student, mode: str, strength: float, seeds: int, wavelet: str = "haar") -> Entry:
    """Return plug-and-play with a score and the wavelet total variation, whose weight is tuned."""

    def method(scans: Scans, seed: int, weight: float, strength: float) -> Tensor:
        net = student.score(mode, seed)[0]
        return reconstruct(net, scans, strength=strength, regulariser=wavelet_tv(weight, wavelet))

    grid = [{"weight": w, "strength": strength} for w in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)]
    return Entry(method, grid, "noisy scans", seeds, _tag(student, mode))


def _tag(student: Student, mode: str) -> Callable[[int], str]:
    return lambda seed: student.score(mode, seed)[1].sha256[:12]


def taught_entry(kind: str, net: nn.Module, manifest: Manifest) -> Entry:
    """Return a supervised network as a method; it has nothing to tune."""
    tag = manifest.sha256[:12]
    return Entry(lambda scans, seed: taught.apply(kind, net, scans), [{}], "clean images", tag=lambda seed: tag)


def recovered(
    ours: np.ndarray, without: Sequence[np.ndarray], clean: np.ndarray, rng: np.random.Generator, resamples: int = 2000
) -> Interval:
    r"""Return the recovered fraction of the gap to the clean-trained score, with a paired bootstrap interval.

    .. math:: \rho = \frac{P_{\text{ours}}-P_{\text{without}}}{P_{\text{clean}}-P_{\text{without}}}

    with mean PSNR :math:`P` and the best of several methods without a wavelet network. Scans and seeds are drawn anew
    together, the same for all methods; so is the choice of the best. Where the clean-trained score is not ahead, there
    is no gap, and the fraction means nothing.

    Args:
        ours: PSNR, shape ``(seeds, scans)``; with one seed it stands for all.
        without: the same of the methods without a wavelet network.
        clean: the same of the clean-trained score.
        rng: where the resampling comes from.
        resamples: how often.

    Raises:
        InvalidInput: nothing to compare with.
    """
    if not without:
        raise InvalidInput("without is empty; give the tables of the methods without a wavelet network.")
    tables = np.stack(np.broadcast_arrays(ours, clean, *without))

    def fraction(chosen: np.ndarray) -> float:
        mean = chosen.mean((1, 2))
        best = mean[2:].max()
        return float((mean[0] - best) / (mean[1] - best))

    _, seeds, scans = tables.shape
    draws = [
        fraction(tables[:, rng.integers(0, seeds, seeds)][:, :, rng.integers(0, scans, scans)])
        for _ in range(resamples)
    ]
    return Interval(fraction(tables), *(float(q) for q in np.quantile(draws, (0.025, 0.975))))
