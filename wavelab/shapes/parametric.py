"""Chairs and airplanes from a seeded generator, with exact distance and mesh: training shapes that anyone may use.

Lengths are in metres for chairs and in lengths of the fuselage for airplanes. Up is y, the front of a chair is z, the
nose of an airplane is x. No part is thinner than a voxel and a half of a 64³ grid.
"""

from __future__ import annotations

import itertools

import numpy as np

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes.solids import Array, Box, Lathe, Loft, Solid, Union

KINDS = ("chair", "airplane")
X, Y, Z = np.eye(3)


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


# --- chairs ---


def chair(rng: np.random.Generator) -> Union:
    """Draw a chair: seat, what carries it, back, arms."""
    seat = _Seat(rng)
    base = rng.choice(["legs", "swivel", "sled", "block"], p=[0.6, 0.18, 0.14, 0.08])
    parts = seat.solids() + {"legs": _legs, "swivel": _swivel, "sled": _sled, "block": _block}[base](seat, rng)
    stool = base != "block" and rng.random() < 0.07
    if not stool:
        parts += _back(seat, rng)
    if not stool and rng.random() < (0.9 if base == "block" else 0.4):
        parts += _arms(seat, base, rng)
    return Union(tuple(parts))


class _Seat:
    """Measures of the seat that all other parts refer to."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.half_x, self.half_z = rng.uniform(0.19, 0.3), rng.uniform(0.19, 0.28)
        self.top = rng.uniform(0.4, 0.5) if rng.random() < 0.88 else rng.uniform(0.6, 0.75)
        self.thick = rng.uniform(0.035, 0.06) if rng.random() < 0.7 else rng.uniform(0.06, 0.13)
        self.round = rng.random() < 0.18
        self.tilt = rng.uniform(0.0, 0.06)
        if self.round:
            self.half_z = self.half_x

    @property
    def under(self) -> float:
        return self.top - self.thick

    def solids(self) -> list[Solid]:
        if self.round:
            return [Lathe.rod((0, self.under, 0), (0, self.top, 0), self.half_x)]
        turn = _about_x(-self.tilt)
        return [Box((0, self.top - self.thick / 2, 0), (self.half_x, self.thick / 2, self.half_z), turn)]

    def corner(self, x: int, z: int, inset: float) -> Array:
        """Return a point under a corner, ``inset`` from the rim."""
        share = 0.68 if self.round else 1.0
        return np.array([
            x * (share * self.half_x - inset), self.top - self.thick / 2, z * (share * self.half_z - inset)
        ])  # fmt: skip


def _legs(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """Four legs, straight or splayed, round or square, with or without stretchers."""
    thick = rng.uniform(0.017, 0.03)
    splay, taper = rng.choice([0.0, rng.uniform(0.02, 0.09)]), rng.uniform(0.65, 1.0)
    square = rng.random() < 0.5 and splay == 0
    tops, feet = {}, {}
    for x in (-1, 1):
        for z in (-1, 1):
            tops[x, z] = seat.corner(x, z, thick)
            feet[x, z] = tops[x, z] * [1, 0, 1] + splay * np.array([x, 0, z])
    parts: list[Solid] = []
    for at in tops:
        if square:
            middle, half = (tops[at] + feet[at]) / 2, tops[at][1] / 2
            parts.append(Box(middle, (thick, half, thick)))
        else:
            parts.append(Lathe.rod(feet[at], tops[at], taper * thick, thick))
    return parts + _stretchers(tops, feet, thick, rng)


def _stretchers(tops: dict, feet: dict, thick: float, rng: np.random.Generator) -> list[Solid]:
    kind = rng.choice(["none", "sides", "box", "h"], p=[0.5, 0.15, 0.2, 0.15])
    share, bar = rng.uniform(0.25, 0.55), max(0.8 * thick, 0.016)
    at = {key: feet[key] + share * (tops[key] - feet[key]) for key in tops}
    sides = [(at[x, -1], at[x, 1]) for x in (-1, 1)]
    across = [(at[-1, z], at[1, z]) for z in (-1, 1)]
    middle = [tuple((a + b) / 2 for a, b in sides)]
    chosen = {"none": [], "sides": sides, "box": sides + across, "h": sides + middle}[kind]
    return [Lathe.rod(a, b, bar) for a, b in chosen]


def _swivel(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """A column on a star of feet, or on a plate."""
    column = rng.uniform(0.025, 0.04)
    parts: list[Solid] = [Lathe.rod((0, 0.04, 0), (0, seat.top - seat.thick / 2, 0), column)]
    radius = rng.uniform(0.2, 0.3)
    if rng.random() < 0.3:
        profile = [(0, radius), (0.03, radius), (0.05, 1.5 * column), (0.1, column)]
        return [*parts, Lathe((0, 0, 0), (0, 1, 0), profile)]
    feet, castors = rng.choice([4, 5]), rng.random() < 0.6
    hub, low = rng.uniform(0.09, 0.13), 0.055 if castors else 0.022
    for angle in 2 * np.pi * (np.arange(feet) / feet) + np.pi / 2:
        out = np.array([np.cos(angle), 0, np.sin(angle)])
        tip = radius * out + [0, low, 0]
        parts.append(Lathe.rod((0, hub, 0), tip, 0.026, 0.018))
        if castors:
            across = np.array([-out[2], 0, out[0]])
            parts.append(Lathe.rod(tip - [0, 0.025, 0] - 0.022 * across, tip - [0, 0.025, 0] + 0.022 * across, 0.03))
    return parts


def _sled(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """Two bent tubes: with two legs a side, or free in the air behind (cantilever)."""
    tube, free = rng.uniform(0.016, 0.022), rng.random() < 0.5
    parts: list[Solid] = []
    for x in (-1, 1):
        front, rear = seat.corner(x, 1, tube), seat.corner(x, -1, tube)
        a, b = front * [1, 0, 1] + [0, tube, 0], rear * [1, 0, 1] + [0, tube, 0]
        posts = [(front, a)] if free else [(front, a), (rear, b)]
        parts += [Lathe.rod(p, q, tube) for p, q in [*posts, (a, b)]]
        parts += [_ball(p, tube) for p in (a, b)]
    ends = [seat.corner(x, -1, tube) * [1, 0, 1] + [0, tube, 0] for x in (-1, 1)]
    return [*parts, Lathe.rod(*ends, tube)]


def _block(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """A body down to the floor, or to short feet, as of an armchair."""
    feet = rng.choice([0.0, rng.uniform(0.04, 0.1)])
    half = (seat.top - seat.thick / 2 - feet) / 2
    parts: list[Solid] = [Box((0, feet + half, 0), (0.97 * seat.half_x, half, 0.97 * seat.half_z))]
    if feet:
        for x in (-1, 1):
            for z in (-1, 1):
                a = np.array([x * 0.85 * seat.half_x, 0, z * 0.85 * seat.half_z])
                parts.append(Lathe.rod(a, a + (feet + 0.02) * Y, 0.025))
    return parts


class _Back:
    """Where the back stands: points by their share of its width (-1 to 1) and of its height (0 to 1)."""

    def __init__(self, seat: _Seat, rng: np.random.Generator) -> None:
        self.width = seat.half_x * (0.75 if seat.round else 1.0) * rng.uniform(0.85, 1.0)
        self.height, self.lean = rng.uniform(0.28, 0.6), rng.uniform(0.03, 0.3)
        self.curve = rng.choice([0.0, rng.uniform(0.02, 0.08)])
        self.foot = np.array([0, seat.top - 0.02, -(0.72 if seat.round else 0.93) * seat.half_z])
        self.turn = _about_x(-self.lean)

    def at(self, across: float, up: float) -> Array:
        local = np.array([across * self.width, up * self.height, -self.curve * (1 - across**2)])
        return self.foot + self.turn @ local

    def rail(self, up: float, half: tuple[float, float], steps: int = 7, span: float = 1.0) -> list[Solid]:
        """Return a board across the back, bent where the back is."""
        count = steps if self.curve else 1
        edges = np.linspace(-span, span, count + 1)
        parts: list[Solid] = []
        for a, b in itertools.pairwise(edges):
            p, q = self.at(a, up), self.at(b, up)
            along = _unit(q - p)
            rise = self.turn[:, 1]
            turn = np.stack([along, rise, np.cross(along, rise)], 1)
            parts.append(Box((p + q) / 2, (np.linalg.norm(q - p) / 2 + 0.004, *half), turn))
        return parts


def _back(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """A back of one of five kinds."""
    back, thick = _Back(seat, rng), rng.uniform(0.015, 0.022)
    kind = rng.choice(["panel", "slats", "ladder", "spindles", "low panel"], p=[0.34, 0.18, 0.2, 0.14, 0.14])
    posts = [Lathe.rod(back.at(x, 0), back.at(x, 1), rng.uniform(0.017, 0.023)) for x in (-0.95, 0.95)]
    if kind == "panel":
        bottom = rng.choice([0.0, rng.uniform(0.05, 0.25)])
        panel = back.rail((1 + bottom) / 2, (back.height * (1 - bottom) / 2, thick * rng.uniform(1, 1.8)))
        return panel + (posts if bottom else [])
    top = back.rail(1.0, (rng.uniform(0.025, 0.05), thick))
    if kind == "low panel":
        return back.rail(0.8, (0.2 * back.height, thick)) + posts
    if kind == "ladder":
        rungs = np.linspace(rng.uniform(0.2, 0.4), 1, rng.integers(2, 5))[:-1]
        half = min(rng.uniform(0.018, 0.04), 0.3 * back.height / len(rungs))
        return top + posts + [part for up in rungs for part in back.rail(up, (half, thick))]
    count = rng.integers(3, 7)
    places = np.linspace(-0.95, 0.95, count + 2)[1:-1]
    if kind == "spindles":
        rods: list[Solid] = [Lathe.rod(back.at(x, 0), back.at(x, 1), 0.016) for x in places]
        return top + posts + rods
    wide = min(rng.uniform(0.018, 0.035), 0.6 * back.width / (count + 1))
    slats: list[Solid] = [_board(back.at(x, 0), back.at(x, 1), wide, thick) for x in places]
    return top + posts + slats


def _arms(seat: _Seat, base: str, rng: np.random.Generator) -> list[Solid]:
    """Arm rests on posts, or closed sides."""
    high, wide = seat.top + rng.uniform(0.16, 0.24), rng.uniform(0.02, 0.04)
    half, closed = rng.uniform(0.75, 0.95) * seat.half_z, base == "block" or rng.random() < 0.15
    posts = [(0.8,), (0.8, -0.6)][rng.integers(2)]
    low = 0.0 if base == "block" else seat.under
    parts: list[Solid] = []
    for x in (-1, 1):
        place = x * (seat.half_x + 0.5 * wide)
        if closed:
            parts.append(Box((place, (low + high) / 2, 0), (1.2 * wide, (high - low) / 2, seat.half_z)))
            continue
        rear = -1.05 * seat.half_z  # where the back is
        parts.append(Box((place, high, (half + rear) / 2), (wide, 0.018, (half - rear) / 2)))
        parts += [Lathe.rod((place, seat.under, z * half), (place, high, z * half), 0.018) for z in posts]
        parts += [
            _board((0, seat.top - 0.02, z * half), (place, seat.top - 0.02, z * half), 0.018, 0.016) for z in posts
        ]
    return parts


# --- airplanes ---


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
        return [_airfoil(front, chord, span, sweep, taper, thick, _unit(np.cross(span, X))) for span in lean]
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
        parts += [Lathe(nozzle, X, profile), _board(nozzle + length / 2 * X, held, 0.02, 0.016)]
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
        parts += [_board(hub, hub + out, 0.016, 0.016) for hub in hubs]
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


# --- small things ---


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v)


def _about_x(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _ball(centre: Array, radius: float) -> Lathe:
    angle = np.linspace(0, np.pi, 13)
    profile = [(float(radius * (1 - np.cos(a))), float(radius * np.sin(a))) for a in angle]
    return Lathe(np.asarray(centre) - [0, radius, 0], (0, 1, 0), profile)


def _board(a: Array, b: Array, half_wide: float, half_thick: float) -> Box:
    """A board from a to b, its broad side across the x axis or, for boards along it, across z."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    along = _unit(b - a)
    side = X if abs(along[0]) < 0.9 else Z
    side = _unit(side - (side @ along) * along)
    turn = np.stack([side, along, np.cross(side, along)], 1)
    return Box((a + b) / 2, (half_wide, np.linalg.norm(b - a) / 2, half_thick), turn)
