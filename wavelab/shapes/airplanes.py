"""Parametric airplanes: fuselage, wings, tail, engines. Lengths of the fuselage; the nose is x, up is y."""

from __future__ import annotations

import numpy as np

from wavelab.shapes.assembly import Union, X, Y, Z, board, unit
from wavelab.shapes.solids import Array, Box, Lathe, Loft, Solid


def airplane(rng: np.random.Generator) -> Union:
    """Draw an airplane: fuselage, wings, tail, engines."""
    kind = rng.choice(["airliner", "propeller", "fighter", "glider", "biplane"], p=[0.4, 0.22, 0.2, 0.1, 0.08])
    body = _Fuselage(kind, rng)
    wing = _Wing(kind, body, rng)
    parts = [body.solid(), *wing.solids(), *_tail(kind, rng)]
    extra = {"airliner": _jets, "propeller": _propeller, "biplane": _upper_wing, "fighter": _intakes}
    return Union(tuple(parts + (extra[kind](body, wing, rng) if kind in extra else [])))


class _Fuselage:
    """A round body along x, from the tail at 0 to the nose at 1."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        slim, fast = kind in ("fighter", "glider"), kind == "fighter"
        self.radius = rng.uniform(0.045, 0.06) if slim else rng.uniform(0.055, 0.08)
        self.nose = rng.uniform(0.25, 0.4) if fast else rng.uniform(0.08, 0.2)
        self.stern = rng.uniform(0.25, 0.45)
        self.thin = rng.uniform(0.55, 0.8) if fast else rng.uniform(0.25, 0.45)
        self.sharp = rng.uniform(0.9, 1.3) if fast else rng.uniform(0.45, 0.65)

    def radius_at(self, x: Array) -> Array:
        behind = self.thin + (1 - self.thin) * np.clip(x / self.stern, 0, 1) ** 0.7
        ahead = np.clip((1 - x) / self.nose, 0, 1) ** self.sharp
        return self.radius * np.minimum(behind, ahead)

    def solid(self) -> Lathe:
        x = np.unique(np.r_[np.linspace(0, self.stern, 6), 1 - self.nose * np.linspace(1, 0, 14) ** 1.5])
        return Lathe((0, 0, 0), X, [(float(s), float(r)) for s, r in zip(x, self.radius_at(x))])


class _Wing:
    """A wing on either side: where its front edge begins, chord, reach, and how it is drawn back and up."""

    def __init__(self, kind: str, body: _Fuselage, rng: np.random.Generator) -> None:
        self.x, self.y = rng.uniform(0.5, 0.65), rng.choice([-0.6, 0.0, 0.75]) * body.radius
        self.reach, self.chord = rng.uniform(0.38, 0.55), rng.uniform(0.16, 0.24)
        self.taper, self.sweep = rng.uniform(0.3, 0.6), rng.uniform(0.08, 0.28)
        self.rise, self.thick = rng.uniform(-0.02, 0.06), rng.uniform(0.04, 0.05)
        if kind == "fighter":
            self.reach, self.chord = rng.uniform(0.26, 0.38), rng.uniform(0.3, 0.45)
            self.taper, self.sweep, self.rise = rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.4), rng.uniform(-0.02, 0.02)
            self.x = 0.4 + self.chord / 2
        if kind in ("glider", "propeller", "biplane"):
            self.sweep, self.taper = rng.uniform(-0.01, 0.05), rng.uniform(0.5, 1.0)
        if kind == "glider":
            self.reach, self.chord = rng.uniform(0.75, 0.95), rng.uniform(0.11, 0.15)
        if kind == "biplane":
            self.y = -0.6 * body.radius

    def at(self, z: float) -> Array:
        """Return the point of the wing a third of the chord behind the front edge, ``z`` to the side."""
        share = abs(z) / self.reach
        chord = self.chord * (1 - share * (1 - self.taper))
        return np.array([self.x - share * self.sweep - chord / 3, self.y + share * self.rise, z])

    def solids(self, lift: float = 0.0, ahead: float = 0.0) -> list[Solid]:
        """Return the two wings, perhaps lifted and moved ahead."""
        root = np.array([self.x + ahead, self.y + lift, 0])
        return _pair(root, self.chord, self.reach, self.rise, self.sweep, self.taper, self.thick)


def _airfoil(root: Array, chord: float, span: Array, sweep: float, taper: float, thick: float, up: Array) -> Loft:
    """A wing from its root's front edge; ``span`` goes to its tip, ``sweep`` moves the tip back."""
    outline = np.array([[0, 0.25], [-0.3, 0.5], [-1, 0.4], [-1, -0.4], [-0.3, -0.5], [0, -0.25]])
    section = chord * outline[:, :1] * X + thick * outline[:, 1:] * up
    return Loft(root + section, root + span - sweep * X + taper * section)


def _pair(
    root: Array, chord: float, reach: float, rise: float, sweep: float, taper: float, thick: float
) -> list[Solid]:
    """A wing on either side, from the middle of the fuselage."""
    return [_airfoil(root, chord, rise * Y + z * reach * Z, sweep, taper, thick, Y) for z in (-1, 1)]


def _tail(kind: str, rng: np.random.Generator) -> list[Solid]:
    """Fin and tail plane: usual, T-tail, V-tail, or two fins."""
    odds = {"fighter": [0.4, 0.0, 0.1, 0.5], "glider": [0.3, 0.4, 0.3, 0.0]}.get(kind, [0.62, 0.22, 0.06, 0.1])
    form = rng.choice(["usual", "T", "V", "twin"], p=odds)
    chord, high, thick = rng.uniform(0.13, 0.19), rng.uniform(0.13, 0.2), rng.uniform(0.035, 0.042)
    reach, sweep, taper = rng.uniform(0.16, 0.24), rng.uniform(0.03, 0.12), rng.uniform(0.4, 0.7)
    front = (0.02 + chord) * X
    if form == "V":
        lean = [np.array([0, high, z * 0.8 * high]) for z in (-1, 1)]
        return [_airfoil(front, chord, span, sweep, taper, thick, unit(np.cross(span, X))) for span in lean]
    if form == "twin":
        places = [front + z * 0.7 * reach * Z for z in (-1, 1)]
        fins: list[Solid] = [_airfoil(place, chord, high * Y, sweep, taper, thick, Z) for place in places]
        return fins + _pair(front, chord, reach, 0.0, sweep, 0.9, thick)
    fin = _airfoil(front, chord, high * Y, sweep, taper, thick, Z)
    if form == "T":
        return [fin, *_pair(front + high * Y - sweep * X, taper * chord, reach, 0.0, sweep / 2, taper, thick)]
    return [fin, *_pair(front, 0.9 * chord, reach, rng.uniform(0, 0.03), sweep, taper, thick)]


def _jets(body: _Fuselage, wing: _Wing, rng: np.random.Generator) -> list[Solid]:
    """Two or four engines under the wings, or two at the stern."""
    radius, length = rng.uniform(0.028, 0.04), rng.uniform(0.1, 0.15)
    profile = [(0, 0.6 * radius), (0.4 * length, radius), (0.9 * length, radius), (length, 0.85 * radius)]
    stern = rng.random() < 0.25
    reaches = (body.radius + 0.8 * radius,) if stern else [(0.16,), (0.13, 0.26)][rng.random() < 0.3]
    parts: list[Solid] = []
    for z in [side * reach for reach in reaches for side in (-1, 1)]:
        if stern:
            nozzle, held = np.array([0.16, 0.25 * body.radius, z]), 0.22 * X
        else:
            held = wing.at(z)
            nozzle = held - (1.1 * radius + 0.025) * Y - 0.3 * length * X
        parts += [Lathe(nozzle, X, profile), board(nozzle + length / 2 * X, held, 0.02, 0.016)]
    return parts


def _propeller(body: _Fuselage, wing: _Wing, rng: np.random.Generator) -> list[Solid]:
    """One propeller at the nose, or one before each wing."""
    if rng.random() < 0.6:
        return _blades([0.99 * X], rng)
    hubs = [wing.at(z) + 0.12 * X for z in (-0.2, 0.2)]
    nacelles: list[Solid] = [Lathe(hub - 0.2 * X, X, [(0, 0.016), (0.1, 0.032), (0.18, 0.03)]) for hub in hubs]
    return nacelles + _blades(hubs, rng)


def _blades(hubs: list[Array], rng: np.random.Generator) -> list[Solid]:
    """Hubs with two to four blades each."""
    count, long = rng.integers(2, 5), rng.uniform(0.08, 0.12)
    parts: list[Solid] = [Lathe(hub - 0.04 * X, X, [(0, 0.03), (0.04, 0.024), (0.06, 0.0)]) for hub in hubs]
    for angle in 2 * np.pi * np.arange(count) / count:
        out = long * (np.cos(angle) * Y + np.sin(angle) * Z)
        parts += [board(hub, hub + out, 0.016, 0.016) for hub in hubs]
    return parts


def _upper_wing(body: _Fuselage, wing: _Wing, rng: np.random.Generator) -> list[Solid]:
    """The second wing of a biplane on its struts, and a propeller."""
    lift, ahead = rng.uniform(0.17, 0.24), rng.uniform(0, 0.04)
    low = [wing.at(z) for z in (-0.6 * wing.reach, -0.06, 0.06, 0.6 * wing.reach)]
    struts = [Lathe.rod(p, p + lift * Y + ahead * X, 0.016) for p in low]
    return [*wing.solids(lift, ahead), *struts, *_blades([0.99 * X], rng)]


def _intakes(body: _Fuselage, wing: _Wing, rng: np.random.Generator) -> list[Solid]:
    """A canopy and, now and then, intakes along both sides."""
    canopy = [(0, 0.012), (0.06, 0.028), (0.12, 0.03), (0.18, 0.012)]
    parts: list[Solid] = [Lathe((0.56, 0.75 * body.radius, 0), X, canopy)]
    if rng.random() < 0.7:
        half = (0.22, 0.55 * body.radius, 0.45 * body.radius)
        parts += [Box((0.32, -0.2 * body.radius, z * 0.9 * body.radius), half) for z in (-1, 1)]
    return parts
