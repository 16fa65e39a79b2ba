"""Sizes of the models of Part 5 and lengths of their trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wavelab.shapes.tsdf import VOXELS


@dataclass(frozen=True)
class Setup:
    """Sizes of the models and lengths of their trainings on one profile.

    The updates on cpu are set so that a rival takes about the processor time of generator and detail predictor
    together, and the auto-decoder, which has the same predictor, that of the generator; what it really took is in the
    manifests.

    Attributes:
        size: grid points a side of a TSDF.
        levels: of the pyramid, at least 2.
        shapes: number of training shapes, with the seeds 0, 1, ….
        width: channels of the generator.
        mults: see :class:`wavelab.networks.UNet`.
        blocks: residual blocks a level.
        batch: volumes an update; fixed numbers for the predictor, for codes and for clouds.
        detail: channels of the detail predictor.
        points: of a cloud.
        mode: what lies beyond the border; see :class:`wavelab.shapes.coefficients.Pyramid`.
        voxels: where distances are cut off.
        precision: of the losses in training, but for the parts that are ``EXACT``.
        updates: of every part, by name.
        rates: learning rates of every part, by name.
    """

    size: int = 64
    levels: int = 2
    shapes: int = 1000
    width: int = 24
    mults: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    batch: int = 8
    detail: int = 12
    points: int = 2048
    mode: str = "periodic"
    voxels: float = VOXELS
    precision: str = "bfloat16"
    updates: Mapping[str, int] = field(default_factory=lambda: dict(UPDATES))
    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))

    @property
    def reach(self) -> float:
        """Truncation in units of the cube."""
        return self.voxels * 2 / (self.size - 1)


PARTS = ("generator", "detail", "auto-decoder", "voxel-gan", "implicit", "code-gan", "point-diffusion")
GAMES = ("voxel-gan", "code-gan")
EXACT = (*GAMES, "implicit", "point-diffusion")  # float32: slopes of slopes, and coordinates as inputs
UPDATES = dict(zip(PARTS, (12_000, 3000, 36_000, 18_000, 17_000, 90_000, 7500)))
RATES = dict(zip(PARTS, (4e-4, 2e-3, 1e-2, 3 * 2e-4, 1e-3, 2e-4, 3 * 1e-3)))
SETUPS = {
    "smoke": Setup(32, 2, 8, 8, (1, 2), 1, 4, 4, 128, precision="float32", updates=dict.fromkeys(PARTS, 2)),
    "cpu": Setup(),
    "gpu": Setup(128, 2, 4000, 64, (1, 2, 2, 2), 3, 16, 32, updates={name: 10 * n for name, n in UPDATES.items()}),
}


QUALITY = Setup(
    128, width=32, detail=16
)  # coarse volumes of 32³ on a processor, about ten times the work; not yet trained
OFFICIAL = Setup(  # of Hui et al. (2022): volumes of 46³ and 76³, cut off at 0.1; not yet trained here
    256, 3, 4000, 64, (1, 2, 2, 2), 3, 16, 64, mode="zero", voxels=12.75,
    updates=UPDATES | {"generator": 800_000, "detail": 60_000},
)  # fmt: skip
