"""The study of Part 5: which models learn from the parametric shapes, for how long, and what each of them generates.

Chapters "Generator and detail predictor" and "Evaluation" share it. A kind of shape has one set of training shapes for
all models. The pyramids differ: ``"bior6.8"`` is the method's, ``"haar"`` and ``"cubic"`` (no wavelet) are ablations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from wavelab.checkpoints import load_or_train
from wavelab.errors import UnknownName
from wavelab.manifest import Manifest
from wavelab.runtime import Run
from wavelab.shapes import collection, detail, generator
from wavelab.shapes.auto_decoder import AutoDecoder
from wavelab.shapes.coefficients import CUBIC, Pyramid
from wavelab.shapes.detail import DetailPredictor
from wavelab.shapes.furniture import HELD_OUT as HELD_OUT
from wavelab.shapes.gans import CodeGAN, ImplicitAutoencoder, VoxelGAN
from wavelab.shapes.generator import Scaling
from wavelab.shapes.point_diffusion import PointDiffusion
from wavelab.shapes.setups import EXACT, GAMES, SETUPS, Setup
from wavelab.training import Training, train

WAVELET = "bior6.8"
METHODS = ("ours", "coarse only", "haar", "cubic", "TSDF", "VAD", "Voxel-GAN", "IM-GAN", "Point-Diff")
DECODED = {"ours": WAVELET, "coarse only": WAVELET, "haar": "haar", "cubic": CUBIC, "TSDF": CUBIC, "VAD": WAVELET}
WITHOUT_DETAIL = ("coarse only", "TSDF")


class Study:
    """The trained models of one kind of shape, each loaded where it is shipped and trained where it is not.

    Args:
        run: the chapter's run.
        kind: of parametric shapes, ``"chair"`` or ``"airplane"``; or of real ones, such as ``"furniture-chair"``; see
            :mod:`wavelab.shapes.collection`.
        setup: sizes; left out, those of the run's profile.
    """

    def __init__(self, run: Run, kind: str, setup: Setup | None = None) -> None:
        """Keep the arguments."""
        self.run, self.kind, self.setup = run, kind, setup or SETUPS[run.profile]
        self._volumes: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self._known: dict[str, tuple[nn.Module, Manifest]] = {}

    # --- what there is to learn from ---

    def pyramid(self, wavelet: str = WAVELET) -> Pyramid:
        """Return the transform."""
        return Pyramid(self.setup.size, self.setup.levels, wavelet, self.setup.mode)

    def volumes(self, wavelet: str = WAVELET, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Return coarse volumes and details of the training shapes, or of the first ``count`` of them."""
        key = wavelet, count or self.setup.shapes
        if key not in self._volumes:
            seeds, reach = range(key[1]), self.setup.reach
            self._volumes[key] = collection.parametric(self.kind, seeds, self.pyramid(wavelet), reach)
        return self._volumes[key]

    def grids(self, count: int | None = None) -> Tensor:
        """Return training shapes on a grid of half the points, scaled to [-1, 1]."""
        coarse, rest = self.volumes(CUBIC, count)
        return ((self.pyramid(CUBIC).upsample(coarse) + rest) / self.setup.reach).clamp(-1, 1)

    def clouds(self, count: int | None = None) -> Tensor:
        """Return points on training shapes, ``(shapes, points, 3)``."""
        seeds = range(count or self.setup.shapes)
        return collection.clouds(self.kind, seeds, self.setup.points, self.setup.size)

    @property
    def some(self) -> int:
        """How many training shapes are enough to measure a scale, so that nobody waits for all of them."""
        return min(100, self.setup.shapes)

    # --- the method and its ablations ---

    def scaling(self, wavelet: str = WAVELET) -> Scaling:
        """Return the scaling of the coarse volumes."""
        return Scaling.of_coarse(self.volumes(wavelet, self.some)[0], self.pyramid(wavelet), self.setup.reach)

    def predictor(self, wavelet: str = WAVELET) -> DetailPredictor:
        """Return what the detail predictor is besides its network."""
        scaling = Scaling.of_detail(self.volumes(wavelet, self.some)[1])
        return DetailPredictor(self.pyramid(wavelet), self.scaling(wavelet), scaling)

    def generator(self, wavelet: str = WAVELET) -> tuple[nn.Module, Manifest]:
        """Return the diffusion generator of coarse volumes."""
        net = generator.network(self.setup.width, self.setup.mults, self.setup.blocks)

        def data():
            x = self.scaling(wavelet).apply(self.volumes(wavelet)[0])
            return self._padded(x, self._even(x.shape[-1]))

        return self._learned("generator", net, generator.loss, data, wavelet=wavelet)

    def detail(self, wavelet: str = WAVELET) -> tuple[nn.Module, Manifest]:
        """Return the network of the detail predictor."""
        net, loss = detail.network(self.setup.detail), self.predictor(wavelet).loss()
        return self._learned("detail", net, loss, lambda: self.volumes(wavelet), size=4, wavelet=wavelet)

    def decode(self, coarse: Tensor, method: str = "ours", sigma: float = 0.0) -> Tensor:
        """Return the TSDFs of coarse volumes, with predicted details where the method has them."""
        wavelet = DECODED[method]
        if method in WITHOUT_DETAIL:
            return self.pyramid(wavelet).join(coarse)
        details = self.predictor(wavelet).predict(self.detail(wavelet)[0], coarse, sigma)
        return self.pyramid(wavelet).join(coarse, details)

    # --- rivals ---

    def auto_decoder(self) -> tuple[nn.Module, Manifest]:
        """Return the variational auto-decoder of coarse volumes, in place of diffusion."""
        count, side = self.setup.shapes, self._power()

        def data():
            return self._padded(self.scaling().apply(self.volumes()[0]), side), torch.arange(count)

        net = AutoDecoder(count, side)
        return self._learned("auto-decoder", net, AutoDecoder.loss, data)

    def voxel_gan(self) -> tuple[nn.Module, Manifest]:
        """Return the GAN of distance volumes."""
        return self._learned("voxel-gan", VoxelGAN(self._side()), VoxelGAN.loss, self.grids)

    def implicit(self) -> tuple[nn.Module, Manifest]:
        """Return the implicit auto-encoder."""
        net = ImplicitAutoencoder(self._side())
        return self._learned("implicit", net, ImplicitAutoencoder.loss, self.grids)

    def code_gan(self) -> tuple[nn.Module, Manifest]:
        """Return the GAN of the implicit auto-encoder's codes."""
        return self._learned("code-gan", CodeGAN(), CodeGAN.loss, self._codes, size=64)

    def point_diffusion(self) -> tuple[nn.Module, Manifest]:
        """Return the diffusion of points."""

        def data():
            return self.clouds() / self.clouds(self.some).std()

        return self._learned("point-diffusion", PointDiffusion(), PointDiffusion.loss, data, size=16)

    def _codes(self) -> Tensor:
        """Return the codes of the training shapes, scaled."""
        mean, std = self._of_codes()
        return (self._encoded(None) - mean) / std

    def _of_codes(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the codes."""
        codes = self._encoded(self.some)
        return codes.mean(0), codes.std(0).clamp(min=1e-6)

    def _encoded(self, count: int | None) -> Tensor:
        net, grids = self.implicit()[0], self.grids(count).to(self.run.device)
        with torch.no_grad():
            return torch.cat([net.encoder(part) for part in grids.split(16)])

    # --- new shapes ---

    def generate(self, method: str, count: int, stream: int = 0, progress: bool = False) -> Tensor:
        """Return new shapes: TSDFs ``(count, 1, n, n, n)``, of Point-Diff clouds ``(count, points, 3)``.

        Args:
            method: one of ``METHODS``.
            count: how many.
            stream: of random numbers.
            progress: whether to draw bars while diffusion runs.

        Raises:
            UnknownName: there is no such method.
        """
        if method not in METHODS:
            raise UnknownName.among("method", method, METHODS)
        rng = self.run.generator(500 + stream, "cpu")  # the same shapes on every device
        if method in DECODED:
            return self.decode(self.coarse(method, count, rng, progress), method).cpu()
        other = {"Voxel-GAN": self._from_grids, "IM-GAN": self._from_codes, "Point-Diff": self._from_points}[method]
        return other(count, rng).cpu()

    def coarse(self, method: str, count: int, rng: torch.Generator, progress: bool = False) -> Tensor:
        """Generate coarse volumes."""
        wavelet = DECODED[method]
        side, scaling = self.pyramid(wavelet).sizes[-1], self.scaling(wavelet)
        if method == "VAD":
            found = scaling.undo(self.auto_decoder()[0].sample(count, rng))
        else:
            net = self.generator(wavelet)[0]
            found = generator.sample(net, scaling, count, self._even(side), rng, progress=progress)
        return found[..., :side, :side, :side]

    def _padded(self, x: Tensor, side: int) -> Tensor:
        """Add empty space behind scaled volumes, where a network could not halve them otherwise."""
        return nn.functional.pad(x, (0, side - x.shape[-1]) * 3)

    def _even(self, side: int) -> int:
        """Return the next side that the generator can halve."""
        return side + -side % 2 ** (len(self.setup.mults) - 1)

    def _power(self) -> int:
        """Return the side of coarse volumes, padded to a power of two."""
        return 2 ** (self.pyramid().sizes[-1] - 1).bit_length()

    def _side(self) -> int:
        """Return the side of :meth:`grids`."""
        return self.pyramid(CUBIC).sizes[-2]

    def tag(self, method: str) -> str:
        """Return a hash of the networks behind a method."""
        return "-".join(manifest.sha256[:8] for manifest in self.manifests(method))

    def manifests(self, method: str) -> list[Manifest]:
        """Return the manifests of the networks behind a method."""
        rivals = {
            "Voxel-GAN": [self.voxel_gan],
            "IM-GAN": [self.implicit, self.code_gan],
            "Point-Diff": [self.point_diffusion],
        }
        if method in rivals:
            return [part()[1] for part in rivals[method]]
        first = self.auto_decoder() if method == "VAD" else self.generator(DECODED[method])
        rest = [] if method in WITHOUT_DETAIL else [self.detail(DECODED[method])]
        return [manifest for _, manifest in [first, *rest]]

    def _from_grids(self, count: int, rng: torch.Generator) -> Tensor:
        volumes = self.voxel_gan()[0].sample(count, rng) * self.setup.reach
        return Pyramid(self.setup.size, self.setup.levels - 1, CUBIC).join(volumes)

    def _from_codes(self, count: int, rng: torch.Generator) -> Tensor:
        mean, std = self._of_codes()
        codes = self.code_gan()[0].sample(count, rng) * std + mean
        return self.implicit()[0].volume(codes, self.setup.size) * self.setup.reach

    def _from_points(self, count: int, rng: torch.Generator) -> Tensor:
        return self.point_diffusion()[0].sample(count, self.setup.points, rng) * self.clouds(self.some).std()

    def _source(self) -> dict[str, str]:
        """Return what the training shapes are, for manifests."""
        last = self.setup.shapes - 1
        if self.kind.startswith(collection.FURNITURE):
            return {f"models, {self.kind.removeprefix(collection.FURNITURE)}": f"numbers 0 to {last}"}
        return {f"parametric {self.kind}s": f"seeds 0 to {last}"}

    def _learned(
        self,
        part: str,
        net: nn.Module,
        loss: Callable[..., Tensor],
        data: Callable[[], Any],
        *,
        size: int | None = None,
        wavelet: str = WAVELET,
    ) -> tuple[nn.Module, Manifest]:
        """Load or train; chapter 19 ships the method, chapter 20 what it is compared with."""
        setup, ours = self.setup, part in ("generator", "detail")
        name = f"{19 if ours and wavelet == WAVELET else 20}-{self.kind}-{part}"
        name += "" if wavelet == WAVELET else f"-{wavelet}"
        if name not in self._known:
            game, precision = part in GAMES, "float32" if part in EXACT else setup.precision
            steps, every = setup.updates[part], max(200, setup.updates[part] // 100)
            clip, betas = (None, (0.0, 0.99)) if game else (1.0, (0.9, 0.999))
            batch = size or setup.batch
            rate, options = setup.rates[part], {"checkpoint_every": every, "precision": precision}
            training = Training(steps, batch, rate, betas=betas, clip=clip, **options)
            config = {**asdict(training), "size": setup.size, "levels": setup.levels, "wavelet": wavelet}
            config["border"] = setup.mode
            made = self._source()

            def fit(net, folder):
                return train(net, loss, data(), training, folder)

            self._known[name] = load_or_train(name, net, fit, run=self.run, data=made, config=config)
        return self._known[name]
