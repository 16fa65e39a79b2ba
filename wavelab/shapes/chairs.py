"""Parametric chairs: a seat, what carries it, a back, arms. Metres; up is y, the front is z."""

from __future__ import annotations

import itertools

import numpy as np

from wavelab.shapes.assembly import Union, Y, about_x, ball, board, unit
from wavelab.shapes.solids import Array, Box, Lathe, Solid


def chair(rng: np.random.Generator) -> Union:
    """Draw a chair: seat, what carries it, back, arms."""
    base = rng.choice(["legs", "swivel", "sled", "block"], p=[0.6, 0.18, 0.14, 0.08])
    seat = _Seat(base, rng)
    parts = seat.solids() + {"legs": _legs, "swivel": _swivel, "sled": _sled, "block": _block}[base](seat, rng)
    stool = base != "block" and rng.random() < 0.07
    if not stool:
        parts += _back(seat, rng)
    if not stool and rng.random() < (0.9 if base == "block" else 0.4):
        parts += _arms(seat, base, rng)
    return Union(tuple(parts))


class _Seat:
    """Measures of the seat that all other parts refer to."""

    def __init__(self, base: str, rng: np.random.Generator) -> None:
        self.half_x, self.half_z = rng.uniform(0.19, 0.3), rng.uniform(0.19, 0.28)
        high = rng.random() < 0.12 and base != "block"
        self.top = rng.uniform(0.6, 0.75) if high else rng.uniform(0.4, 0.5)
        self.thick = rng.uniform(0.055, 0.08) if rng.random() < 0.7 else rng.uniform(0.06, 0.13)
        self.round = rng.random() < 0.18 and base in ("legs", "swivel")
        self.tilt = rng.uniform(0.0, 0.06)
        if self.round:
            self.half_z = self.half_x

    @property
    def under(self) -> float:
        return self.top - self.thick

    def solids(self) -> list[Solid]:
        if self.round:
            return [Lathe.rod((0, self.under, 0), (0, self.top, 0), self.half_x)]
        turn = about_x(-self.tilt)
        return [Box((0, self.top - self.thick / 2, 0), (self.half_x, self.thick / 2, self.half_z), turn)]

    def corner(self, x: int, z: int, inset: float) -> Array:
        """Return a point under a corner, ``inset`` from the rim."""
        share = 0.68 if self.round else 1.0
        return np.array([
            x * (share * self.half_x - inset), self.top - self.thick / 2, z * (share * self.half_z - inset)
        ])  # fmt: skip


def _legs(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """Four legs, straight or splayed, round or square, with or without stretchers."""
    thick = rng.uniform(0.028, 0.042)
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
    share, bar = rng.uniform(0.25, 0.55), max(0.85 * thick, 0.025)
    at = {key: feet[key] + share * (tops[key] - feet[key]) for key in tops}
    sides = [(at[x, -1], at[x, 1]) for x in (-1, 1)]
    across = [(at[-1, z], at[1, z]) for z in (-1, 1)]
    middle = [tuple((a + b) / 2 for a, b in sides)]
    chosen = {"none": [], "sides": sides, "box": sides + across, "h": sides + middle}[kind]
    return [Lathe.rod(a, b, bar) for a, b in chosen]


def _swivel(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """A column on a star of feet, or on a plate."""
    column = rng.uniform(0.03, 0.045)
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
        parts.append(Lathe.rod((0, hub, 0), tip, 0.034, 0.028))
        if castors:
            across = np.array([-out[2], 0, out[0]])
            parts.append(Lathe.rod(tip - [0, 0.025, 0] - 0.022 * across, tip - [0, 0.025, 0] + 0.022 * across, 0.03))
    return parts


def _sled(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """Two bent tubes: with two legs a side, or free in the air behind (cantilever)."""
    tube, free = rng.uniform(0.027, 0.033), rng.random() < 0.5
    parts: list[Solid] = []
    for x in (-1, 1):
        front, rear = seat.corner(x, 1, tube), seat.corner(x, -1, tube)
        a, b = front * [1, 0, 1] + [0, tube, 0], rear * [1, 0, 1] + [0, tube, 0]
        posts = [(front, a)] if free else [(front, a), (rear, b)]
        parts += [Lathe.rod(p, q, tube) for p, q in [*posts, (a, b)]]
        parts += [ball(p, tube) for p in (a, b)]
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
        self.turn = about_x(-self.lean)

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
            along = unit(q - p)
            rise = self.turn[:, 1]
            turn = np.stack([along, rise, np.cross(along, rise)], 1)
            parts.append(Box((p + q) / 2, (np.linalg.norm(q - p) / 2 + 0.004, *half), turn))
        return parts


def _back(seat: _Seat, rng: np.random.Generator) -> list[Solid]:
    """A back of one of five kinds."""
    back, thick = _Back(seat, rng), rng.uniform(0.026, 0.034)
    kind = rng.choice(["panel", "slats", "ladder", "spindles", "low panel"], p=[0.34, 0.18, 0.2, 0.14, 0.14])
    posts = [Lathe.rod(back.at(x, 0), back.at(x, 1), rng.uniform(0.026, 0.033)) for x in (-0.95, 0.95)]
    if kind == "panel":
        bottom = rng.choice([0.0, rng.uniform(0.05, 0.25)])
        panel = back.rail((1 + bottom) / 2, (back.height * (1 - bottom) / 2, thick * rng.uniform(1, 1.8)))
        return panel + (posts if bottom else [])
    top = back.rail(1.0, (rng.uniform(0.025, 0.05), thick))
    if kind == "low panel":
        return back.rail(0.8, (0.2 * back.height, thick)) + posts
    if kind == "ladder":
        rungs = np.linspace(rng.uniform(0.2, 0.4), 1, rng.integers(2, 5))[:-1]
        half = min(rng.uniform(0.027, 0.05), 0.3 * back.height / len(rungs))
        return top + posts + [part for up in rungs for part in back.rail(up, (half, thick))]
    count = rng.integers(2, 6)
    places = np.linspace(-0.95, 0.95, count + 2)[1:-1]
    if kind == "spindles":
        rods: list[Solid] = [Lathe.rod(back.at(x, 0), back.at(x, 1), 0.025) for x in places]
        return top + posts + rods
    wide = min(rng.uniform(0.027, 0.045), 0.6 * back.width / (count + 1))
    slats: list[Solid] = [board(back.at(x, 0), back.at(x, 1), wide, thick) for x in places]
    return top + posts + slats


def _arms(seat: _Seat, base: str, rng: np.random.Generator) -> list[Solid]:
    """Arm rests on posts, or closed sides."""
    high, wide = seat.top + rng.uniform(0.16, 0.24), rng.uniform(0.03, 0.05)
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
        parts.append(Box((place, high, (half + rear) / 2), (wide, 0.027, (half - rear) / 2)))
        parts += [Lathe.rod((place, seat.under, z * half), (place, high, z * half), 0.026) for z in posts]
        parts += [
            board((0, seat.top - 0.02, z * half), (place, seat.top - 0.02, z * half), 0.018, 0.016) for z in posts
        ]
    return parts
