"""Drawings of garments by a script, as strokes in many styles, and what a network sees of a drawing.

They stand for a hand: outlined, hatched or half filled, small, tilted, mirrored, shaky, with gaps, with sleeves and
seams or without. Nobody drew them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import numpy as np
from scipy import ndimage

from sequential_fmnist.data import SequentialFashionMNIST

Point = tuple[float, float]
Line = list[Point]
#: Lines, each with the chance that somebody draws it; the first is that of the outline.
Lines = list[tuple[float, Line]]
#: As ``Stroke`` in ``pad.js``: x and y from 0 to 255, one after the other, from the upper left corner.
Stroke = list[int]

#: Of garments with a neck, whose shoulders are about 1 wide, ends of: the length of sleeves and their angle in degrees,
#: the length of the body and half its width, and waist and hem as a share of that.
TOPS: dict[str, tuple[Point, ...]] = {
    "T-shirt/top": ((0.2, 0.42), (15, 60), (0.95, 1.25), (0.34, 0.46), (0.9, 1.02), (0.95, 1.1)),
    "Pullover": ((0.75, 1.05), (35, 82), (0.9, 1.25), (0.34, 0.48), (0.92, 1.05), (0.9, 1.05)),
    "Shirt": ((0.7, 1.0), (35, 86), (1.0, 1.4), (0.34, 0.46), (0.9, 1.0), (0.95, 1.08)),
    "Coat": ((0.7, 1.15), (45, 86), (1.2, 1.9), (0.32, 0.48), (0.8, 1.05), (0.95, 1.5)),
    "Dress": ((0.15, 0.4), (20, 65), (1.6, 2.2), (0.26, 0.34), (0.65, 0.95), (1.2, 2.4)),
}


class Hand(Random):
    """Random decisions."""

    def has(self, chance: float) -> bool:
        """Return whether something is there."""
        return self.random() < chance


def curve(*points: Point) -> Line:
    """Return a smooth line through points (Catmull and Rom)."""
    line: Line = []
    for a, b, c, d in zip((points[0], *points), points, points[1:], (*points[2:], points[-1]), strict=False):
        for t in (0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6):
            x, y = (
                0.5
                * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
            line.append((x, y))
    return [*line, points[-1]]


def turned(point: Point, angle: float) -> Point:
    """Return a point turned around the middle."""
    (x, y), c, s = point, math.cos(angle), math.sin(angle)
    return x * c - y * s, x * s + y * c


def mirrored(line: Line) -> Line:
    """Return the other side of a garment, backwards."""
    return [(-x, y) for x, y in reversed(line)]


def both(chance: float, line: Line) -> Lines:
    """Return a line and that of the other side."""
    return [(chance, line), (chance, mirrored(line))]


def across(chance: float, half: float, y: float) -> tuple[float, Line]:
    """Return a level line."""
    return chance, [(-half, y), (half, y)]


def top(hand: Hand, name: str) -> Lines:
    """Return the lines of a garment with a neck."""
    sleeve, angle, length, body, waist, hem = (hand.uniform(*ends) for ends in TOPS[name])
    is_coat, is_shirt, is_pullover, is_dress = (name == one for one in ("Coat", "Shirt", "Pullover", "Dress"))
    is_light = name in ("T-shirt/top", "Pullover")
    is_bare = hand.has({"Dress": 0.6, "T-shirt/top": 0.12}.get(name, 0))
    if (is_dress and hand.has(0.35)) or (is_shirt and hand.has(0.25)):  # long sleeves, or short ones
        sleeve, angle = (hand.uniform(*ends) for ends in TOPS["Pullover" if is_dress else "T-shirt/top"][:2])
    angle, width, waist, hem = math.radians(angle), hand.uniform(0.17, 0.27), waist * body, hem * body
    neck, depth = hand.uniform(0.1, 0.2), hand.uniform(0.02, 0.1) if is_coat else hand.uniform(0.05, 0.22)
    shoulder, pit = (body + hand.uniform(0, 0.1), hand.uniform(0.03, 0.12)), (body, hand.uniform(0.3, 0.42))
    outer = shoulder[0] + sleeve * math.cos(angle), shoulder[1] + sleeve * math.sin(angle)
    inner = outer[0] - width * math.sin(angle), outer[1] + width * math.cos(angle)
    inner = max(inner[0], body + 0.03) if sleeve > 0.5 else inner[0], inner[1]
    arm = [shoulder, outer, inner, pit]
    if is_bare:
        arm = [(neck + hand.uniform(0.05, 0.15), 0.02), (body * hand.uniform(0.75, 0.95), 0.6 * pit[1]), pit]
    edge: Line = [(-neck, 0), (0, 1.5 * depth), (neck, 0)]
    if hand.has(0.7):
        edge = curve((-neck, 0), (-0.6 * neck, 0.8 * depth), (0, depth), (0.6 * neck, 0.8 * depth), (neck, 0))
    below = (
        [] if hand.has(0.6) else curve((hem, length), (0, length + hand.uniform(-0.06, 0.1)), (-hem, length))
    )
    rest = [pit, (waist, length * hand.uniform(0.45, 0.6)), (hem, length)]
    halves = [[(neck, 0.0), *between, *rest] for between in (arm[:-1], [shoulder])]
    whole, trunk = (half + below + mirrored(half) for half in halves)
    is_apart = not is_bare and hand.has(0.25)  # body and sleeves
    lines = [(1.0, trunk), *both(1, arm)] if is_apart else [(1.0, whole)]
    cuff = [
        tuple(0.87 * a + 0.13 * b for a, b in zip(*two, strict=True))
        for two in ((outer, shoulder), (inner, pit))
    ]
    lines += [(1, edge), *both(0.3 * (not is_bare), [shoulder, pit]), *both(0.35 * (sleeve > 0.5), cuff)]
    if is_light and hand.has(0.25):  # stripes
        lines += [across(1, 0.95 * body, y / 100) for y in range(44, 80, hand.choice((12, 16)))]
    ring = [(0.12 * math.cos(k), 0.5 + 0.12 * math.sin(k)) for k in range(8)]
    collar = [(-neck, 0.0), (-0.9 * neck, -0.12), (0.9 * neck, -0.12), (neck, 0.0)]
    lines += [
        (0.3 * is_light, [(1.25 * x, y + 0.07) for x, y in edge]),
        (0.15 * (name == "T-shirt/top"), ring),
        across(0.5 * is_pullover, hem, 0.91 * length),
        (0.25 * is_pullover, collar),
        across(0.45 * is_dress, waist, 0.52 * length),
        *((0.2 * is_dress, [(k * waist, 0.52 * length), (k * hem, 0.97 * length)]) for k in (-0.4, 0, 0.4)),
    ]
    is_open, middle = is_coat or is_shirt, edge[len(edge) // 2][1]
    return lines + (front(hand, is_coat, neck, middle, body, length) if is_open else [])


def front(hand: Hand, is_coat: bool, neck: float, edge: float, body: float, length: float) -> Lines:
    """Return collar, opening, buttons, pockets and belt of a shirt or a coat."""
    x = hand.uniform(-0.03, 0.05)
    deep, wide = (hand.uniform(0.1, 0.55), hand.uniform(0.9, 1.8)) if is_coat else (edge, 0.9)
    low = hand.uniform(0.3, 0.6) * deep if is_coat else edge + hand.uniform(0.05, 0.2)
    count, size = (hand.randint(2, 4), hand.uniform(0.012, 0.05)) if is_coat else (hand.randint(3, 6), 0.012)
    apart = hand.uniform(0.05, 0.15) if is_coat else hand.uniform(-0.03, 0.1)
    y = length * hand.uniform(0.58, 0.7)
    heights = [deep + 0.1 + (0.85 * length - deep) * k / count for k in range(count)] if hand.has(0.8) else []
    a, b, is_double = 0.3 * body, 0.75 * body, is_coat and hand.has(0.25)
    return [
        (1, [(x, deep), (x, length)]),
        (0.3, [(x + 0.08, deep), (x + 0.08, length)]),
        (0.9 - 0.2 * is_coat, [(-neck, 0), (-wide * neck, low), (x, deep), (wide * neck, low), (neck, 0)]),
        *(
            (1, [(x + side * apart + size * math.cos(t), at + size * math.sin(t)) for t in (0, 2, 4, 6)])
            for at in heights
            for side in ((1, -1) if is_double else (1,))
        ),
        *both(0.5 * is_coat, [(0.4 * body, y), (0.75 * body, y + hand.uniform(-0.08, 0.12))]),
        *(across(0.3 * is_coat, 0.95 * body, share * length) for share in (0.5, 0.56)),
        (0.4 * (not is_coat), [(a, 0.4), (b, 0.4), (b, 0.56), (a, 0.56), (a, 0.4)]),
    ]


def trouser(hand: Hand, name: str) -> Lines:
    """Return the lines of trousers."""
    waist, length, crotch = hand.uniform(0.26, 0.5), hand.uniform(1.3, 2.1), hand.uniform(0.35, 0.7)
    outer = waist * hand.uniform(0.9, 1.8)
    inner = max(hand.uniform(0.01, 0.08), outer - hand.uniform(0.16, 0.45))
    hips = waist * hand.uniform(1, 1.15)
    half = [(waist, 0.0), (hips, 0.32), (outer, length), (inner, length), (0.0, crotch)]
    return [
        (1, [*half, *mirrored(half), half[0]]),
        across(0.5, waist, 0.11),
        (0.35, [(0, 0.1), (0, crotch)]),
        *both(0.3, [(0.5 * waist, 0.1), (0.95 * waist, 0.3)]),  # pockets
        *both(0.2, [((inner + outer) / 2, crotch + 0.1), ((inner + outer) / 2, 0.95 * length)]),  # creases
    ]


def shoe(hand: Hand, name: str) -> Lines:
    """Return the lines of a sneaker or an ankle boot that looks to the left."""
    is_boot = name == "Ankle boot"
    high = hand.uniform(1.1, 2.2) if is_boot else hand.uniform(0.55, 0.85)
    toe, mouth, back = hand.uniform(0.25, 0.5), hand.uniform(0.85, 1.25), hand.uniform(1.85, 2.05)
    heel, step, tongue = hand.uniform(0.12, 0.45), hand.uniform(0.1, 0.18), hand.uniform(0.85, 1.15)
    sole: Line = [(0.02, 0), (1.15, 0), (2, 0)]
    if is_boot and hand.has(0.6):
        sole[2:2] = [(1.25, -0.6 * heel), (1.5, -0.55 * heel), (1.52, 0)]
    shaft = [(back, -0.5 * high), (back - 0.05, -high), (mouth, -high * tongue), (mouth - 0.03, -0.55 * high)]
    low = [(back, -0.6 * high), (back - 0.03, -high), (1.75, -0.85 * high), (mouth + 0.15, -high * tongue)]
    upper = [
        *(shaft if is_boot else low),
        (hand.uniform(0.75, 0.95), -1.5 * toe),
        (0.3, -toe),
        (0.03, -0.5 * toe),
    ]
    around = [sole[-1], *upper, sole[0]]
    whole = sole + (curve(*around) if hand.has(0.7) else around)
    laces = [
        (mouth, -high * (0.5 + 0.1 * k)) if is_boot else (0.65 + 0.13 * k, -1.2 * toe - 0.1 * k)
        for k in range(4)
    ]
    return [
        (1, whole),
        (0.7, [(0.05, -step), (2, -step)]),
        *((0.35 if is_boot else 0.6, [(x, y), (x + 0.15, y + hand.uniform(0.03, 0.15))]) for x, y in laces),
        (0.4 * (not is_boot), curve((0.45, -0.12), (0.5, -0.7 * toe), (0.38, -toe - 0.04))),  # toe cap
        *((0.2 * (not is_boot), [(x, -0.15), (x + 0.2, -0.65 * high)]) for x in (1.1, 1.26, 1.42)),
        (0.3 * is_boot, [(mouth, -0.85 * high), (back, -0.85 * high)]),
        (0.25 * is_boot, [(mouth + 0.3, -high), (mouth + 0.3, -0.35 * high)]),
    ]


def sandal(hand: Hand, name: str) -> Lines:
    """Return the lines of a sandal, flat or with a heel."""
    thick, ball = hand.uniform(0.08, 0.22), hand.uniform(0.7, 0.95)
    heel = hand.uniform(0.3, 0.85) if hand.has(0.45) else hand.uniform(0, 0.1)
    x, wide, high = hand.uniform(1.7, 1.95), hand.uniform(0.05, 0.22), hand.uniform(0.4, 0.9)

    def at(x: float, up: float = 0.0) -> Point:
        """Return a place above the sole."""
        return x, -heel * min(1.0, max(0.0, (x - ball) / (1.75 - ball))) ** 1.3 - thick - up

    def strap(a: float, b: float, high: float) -> Line:
        middle, lean = (a + b) / 2, 0.35 * (b - a)
        return curve(
            at(a), at(middle - lean, 0.8 * high), at(middle, high), at(middle + lean, 0.8 * high), at(b)
        )

    upper = [at(k / 6) for k in range(13)]
    sole = [*upper, *((x, y + thick) for x, y in reversed(upper))]
    bands = [strap(a, a + hand.uniform(0.25, 0.45), hand.uniform(0.2, 0.45)) for a in (0.25, 0.6, 0.95)]
    toes = [curve(at(0.42), at(0.85, hand.uniform(0.3, 0.45)), at(end)) for end in (1.3, 1.6)]
    ankle = [[at(2), at(2, high)], curve(at(2, high), at(1.7, 0.85 * high), at(1.4, high))]
    kinds: list[Lines] = [
        [*((0.7, band) for band in bands), (0.7, strap(hand.uniform(1.35, 1.6), 2, high))],
        [(1, toes[0]), (0.5, toes[1])],
        [*((1, line) for line in [[at(0.3), at(0.95, high / 2)], [at(0.85), at(0.35, high / 3)], *ankle]),
         (0.6, [at(1.4, high), at(0.95, high / 2)])],
        [(1, bands[0]), (0.7, bands[1]), (1, curve(at(2), at(1.95, high), at(1.5, high), at(1.1)))],
    ]  # fmt: skip
    under = [at(x, -thick), (x + 0.02, 0.0), (x + wide, 0.0), at(min(2, x + wide + 0.05), -thick)]
    return [
        (1, [*sole, sole[0]] if hand.has(0.75) else upper),
        (float(heel > 0.2), under),
        *hand.choice(kinds),
    ]


def bag(hand: Hand, name: str) -> Lines:
    """Return the lines of a bag with one handle, two or none."""
    upper, high, arch = hand.uniform(0.45, 0.85), hand.uniform(0.55, 1.15), hand.uniform(0.25, 0.75)
    lower, wide = upper * hand.uniform(0.9, 1.35), upper * hand.choice((hand.uniform(0.35, 0.8), 1))
    body: Line = [(-upper, 0), (upper, 0), (lower, high), (-lower, high), (-upper, 0)]
    handle: Line = [(-wide, 0), (-0.8 * wide, -arch), (0.8 * wide, -arch), (wide, 0)]
    if hand.has(0.7):
        side = 0.85 * wide
        handle = curve((-wide, 0), (-side, -0.7 * arch), (0, -arch), (side, -0.7 * arch), (wide, 0))
    flap, seam = high * hand.uniform(0.3, 0.6), high * hand.uniform(0.12, 0.3)
    boxes = [
        (0.3, 0.06, 0.35 * high, 0.45 * high),
        (0.2, 0.6 * lower, 0.45 * high, 0.85 * high),
    ]  # clasp, pocket
    return [
        (1, body if hand.has(0.6) else curve(*body)),
        (0.9, handle),
        (0.35, [(hand.choice((0.75, 1.2)) * x, 0.75 * y) for x, y in handle]),
        (0.35, [(-upper, 0), (-0.6 * upper, flap), (0.6 * upper, flap), (upper, 0)]),
        across(0.25, upper, seam),
        *((chance, [(-x, a), (x, a), (x, b), (-x, b), (-x, a)]) for chance, x, a, b in boxes),
    ]


SHAPES: dict[str, Callable[[Hand, str], Lines]] = dict.fromkeys(TOPS, top) | {
    "Trouser": trouser, "Sandal": sandal, "Sneaker": shoe, "Ankle boot": shoe, "Bag": bag,
}  # fmt: skip


def hatched(hand: Hand, outline: Line) -> list[Line]:
    """Return parallel lines in an outline, over all of it or a part, one by one or in one go."""
    angle = hand.choice((0, 0, math.pi / 2, hand.uniform(0, math.pi)))
    points = [turned(point, -angle) for point in outline]
    low, high = min(y for _, y in points), max(y for _, y in points)
    first, last = (
        (low, high) if hand.has(0.5) else sorted((hand.uniform(low, high), hand.choice((low, high))))
    )
    step, rows = (high - low) / hand.uniform(5, 18), []
    for k in range(math.ceil((last - first) / step)):
        y = first + (k + 0.5) * step
        edges = [two for two in pairwise([*points, points[0]]) if (two[0][1] <= y) != (two[1][1] <= y)]
        xs = sorted(x0 + (y - y0) * (x1 - x0) / (y1 - y0) for (x0, y0), (x1, y1) in edges)
        rows += [[turned((x, y), angle) for x in two] for two in zip(xs[::2], xs[1::2], strict=False)]
    if rows and hand.has(0.4):
        return [[point for k, row in enumerate(rows) for point in row[:: 1 - 2 * (k % 2)]]]
    return rows


def dense(line: Line) -> Line:
    """Return a line with many points."""
    result = line[:1]
    for (x0, y0), (x1, y1) in pairwise(line):
        parts = math.ceil(math.dist((x0, y0), (x1, y1)) / 0.06) or 1
        result += [(x0 + (x1 - x0) * k / parts, y0 + (y1 - y0) * k / parts) for k in range(1, parts + 1)]
    return result


def drawing(hand: Hand, name: str) -> list[Stroke]:
    """Return a drawing of a garment of the class ``name``, somewhere on a pad."""
    shape = SHAPES[name](hand, name)
    lines = [line for chance, line in shape if hand.has(chance)]
    strokes = []
    for line in map(dense, lines + hatched(hand, shape[0][1]) if hand.has(0.3) else lines):
        is_lifted = len(line) > 12 and hand.has(0.25)  # the pen, for a gap
        at = hand.randrange(2, len(line) - 4) if is_lifted else len(line)
        strokes += [line[:at], line[at + hand.randint(1, max(1, len(line) // 9)) :]]
    side, stretch = hand.choice((-1, 1)), hand.uniform(0.72, 1.35)
    shear, angle = hand.gauss(0, 0.06), hand.gauss(0, 0.17)
    bend, shake, slip = hand.uniform(0, 0.06), hand.uniform(0, 0.012), hand.uniform(0, 0.03)
    waves = [(hand.gauss(0, bend), hand.uniform(1, 5), hand.uniform(0, 6.3)) for _ in range(4)]

    def place(x: float, y: float) -> Point:
        dx = sum(much * math.sin(often * y + x + start) for much, often, start in waves[:2])
        dy = sum(much * math.sin(often * x + y + start) for much, often, start in waves[2:])
        x = (side * x + dx + shear * y) * stretch + hand.gauss(0, shake)
        return turned((x, y + dy + hand.gauss(0, shake)), angle)

    moved = []
    for line in filter(None, strokes):
        shift = hand.gauss(0, slip), hand.gauss(0, slip)
        moved.append(np.add([place(*point) for point in line], shift))
    low, high = (edge(np.concatenate(moved), axis=0) for edge in (np.min, np.max))
    size = 255 * (hand.uniform(0.2, 0.6) if hand.has(0.25) else hand.uniform(0.6, 0.93)) / (high - low).max()
    corner = [hand.uniform(9, 246 - size * span) for span in (high - low).tolist()]
    return [np.rint(corner + size * (line - low)).astype(int).flatten().tolist() for line in moved]


def drawings(seed: int, count: int) -> Iterator[tuple[int, list[Stroke]]]:
    """Yield class and strokes of drawings, of each class equally many; another seed gives others."""
    for k in range(count):
        label = k % len(SequentialFashionMNIST.classes)
        yield label, drawing(Hand(f"{seed} {k}"), SequentialFashionMNIST.classes[label])


def word(strokes: list[Stroke]) -> str:
    """Return a drawing as an address has it: of each part of a stroke the number of points, then their places."""
    parts = [stroke[k : k + 510] for stroke in strokes for k in range(0, len(stroke), 510)]
    letters = bytes(value for part in parts for value in (len(part) // 2, *part))
    return base64.urlsafe_b64encode(letters).decode().rstrip("=")


#: As in ``network.js``: garments that differ only in a line or two, and the share from which a network is sure of one.
ALIKE, SURE = ("Pullover", "Coat", "Shirt"), 0.8


def said(shares: np.ndarray) -> str:
    """Return the answer to a drawing: the class of the largest share, or "a top" for an unsure one of :data:`ALIKE`."""
    best = SequentialFashionMNIST.classes[int(np.argmax(shares))]
    return "a top" if best in ALIKE and max(shares) < SURE else best


#: As in ``pad.js``.
SIDE, ROOM, MOST, STEP, INK, EDGE, FALL, REACH, FAINT, FILL = 28, 25, 0.9, 0.5, 230, 0.4, 160, 2, 40, 110
#: Ends of strokes that are nearer, in pixels, enclose as if a line joined them; the line is no ink.
BRIDGE = 10


def along(starts: np.ndarray, ways: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return points ``[n, 2]`` on lines ``[m, 2]``, ``parts`` of each, without the last."""
    which = np.repeat(np.arange(len(parts)), parts)
    part = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    return starts[which] + ways[which] * (part / parts[which])[:, None]


def seen(strokes: list[Stroke]) -> np.ndarray:
    """Return what networks see of a drawing, ``[28, 28]`` from 0 to 255, as ``seen`` in ``pad.js`` does."""
    points = np.concatenate([np.reshape(stroke, (-1, 2)) for stroke in strokes]).astype(float)
    low, high = points.min(0), points.max(0)
    points = (points - (low + high) / 2) * min(ROOM / max((high - low).max(), 1e-9), MOST) + SIDE / 2
    way = np.diff(points, axis=0, append=points[-1:])
    last = np.cumsum([len(stroke) // 2 for stroke in strokes]) - 1
    way[last] = 0  # from the end of a stroke no line leads on
    parts = np.maximum(1, np.ceil(np.sqrt((way * way).sum(1)) / STEP)).astype(int)
    dabs = along(points, way, parts)
    square = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1].reshape(2, -1).T
    pixel = np.floor(dabs)[:, None] + square  # [dabs, near, 2]
    apart = pixel + 0.5 - dabs[:, None]
    inside = ((pixel >= 0) & (pixel < SIDE)).all(2)
    (x, y), near = pixel[inside].astype(int).T, np.full((SIDE, SIDE), float(SIDE))
    np.minimum.at(near, (y, x), np.sqrt((apart * apart).sum(2))[inside])
    greys = np.clip(INK - FALL * (near - EDGE), 0, INK)
    ink, square = greys > FAINT, np.ones((3, 3))
    wall, ends = ink.copy(), points[np.concatenate([[0], last[:-1] + 1, last])]
    one, other = np.triu_indices(len(ends), 1)
    far = np.sqrt(((ends[other] - ends[one]) ** 2).sum(1))
    steps = np.ceil(np.where(far <= BRIDGE, far, 0) / STEP).astype(int)
    x, y = np.floor(along(ends[one], ends[other] - ends[one], steps)).astype(int).T
    is_inside = (np.minimum(x, y) >= 0) & (np.maximum(x, y) < SIDE)
    wall[y[is_inside], x[is_inside]] = True
    parts, _ = ndimage.label(~np.pad(ndimage.binary_dilation(np.pad(wall, 1), square), 1))
    ground = ndimage.binary_dilation(parts == parts[0, 0], square)[2:-2, 2:-2] & ~ink
    return np.rint(np.where(ground, greys, np.maximum(greys, FILL))).astype(np.uint8)
