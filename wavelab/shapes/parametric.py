"""Chairs and airplanes from a seeded generator, with exact distance and mesh: training shapes that anyone may use.

Most of them hang together on a 64³ grid; the tips of some wings and tails are thinner than a voxel of it.
"""

from __future__ import annotations

import numpy as np

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes.airplanes import airplane
from wavelab.shapes.assembly import Union
from wavelab.shapes.chairs import chair

KINDS = ("chair", "airplane")


def shape(kind: str, seed: int) -> Union:
    """Return one shape, the same for the same seed.

    Raises:
        UnknownName: there is no such kind.
        InvalidInput: a seed that is not a whole number of at least 0.
    """
    if kind not in KINDS:
        raise UnknownName.among("kind of shape", kind, KINDS)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidInput(f"seed is {seed!r}; give a whole number of at least 0.")
    rng = np.random.default_rng([KINDS.index(kind), int(seed)])
    return {"chair": chair, "airplane": airplane}[kind](rng)
