"""Scenes of the practice set: overlapping textured shapes on textured ground, with exact masks.

A class is an outline with its own texture. Colours are chosen independently of the class, those of the ground too, so
a single pixel says next to nothing about its class. Drawing uses integer arithmetic on integer coordinates (and
exactly rounded square roots): the same seed gives the same pixels on every machine. Imports no MindSpore.

Vocabulary
    pattern     (H, W) bool: which of its two colours a textured surface shows
    ids         (H, W) int32: which thing a pixel shows; 0 is the ground, k the k-th thing, nearer things drawn later
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

CLASS_NAMES = ("background", "disc", "triangle", "square", "ring", "star")
IGNORE = 255

_UNIT = 64  # sub-pixel steps of texture coordinates
_SHIFT = 4  # fractional bits of outline vertices
_ANGLES = 24  # directions a texture or an outline can have
_TRIES = 30  # places tried for one shape before the scene goes without it
_LEAST_VISIBLE = 0.5  # share of a thing that nearer ones must leave visible

_DARK = np.array([(38, 50, 72), (92, 30, 44), (28, 74, 62), (74, 44, 92), (96, 62, 26), (30, 66, 104), (60, 60, 60),
                  (70, 80, 28)])
_LIGHT = np.array([(244, 208, 120), (240, 158, 140), (158, 214, 186), (186, 176, 236), (246, 232, 206),
                   (142, 196, 236), (214, 214, 214), (206, 222, 120)])


@dataclass(frozen=True)
class Thing:
    """One annotated thing: `category` in 1..5 and the pixels it shows, `mask` (H, W) bool, never empty."""

    category: int
    mask: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A picture with its truth.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        instances: the shapes, far to near, each with what nearer ones leave visible of it.
        crowds: regions of many tiny shapes of one category, annotated as a whole.
        ids: (H, W) int32; 0 the ground, another number for every instance and crowd.
    """

    image: np.ndarray
    instances: list[Thing]
    crowds: list[Thing]
    ids: np.ndarray

    def label(self) -> np.ndarray:
        """Semantic label (H, W) uint8: 0 ground, 1..5 classes, 255 on the two pixels across every outline."""
        label = np.zeros(self.ids.shape, np.uint8)
        for thing in (*self.crowds, *self.instances):
            label[thing.mask] = thing.category
        ids = self.ids.astype(np.float32)  # a type that cv2's morphology takes; ids are small
        square = np.ones((3, 3), np.uint8)
        label[cv2.dilate(ids, square) != cv2.erode(ids, square)] = IGNORE
        return label


def draw_scene(rng: np.random.Generator, size: tuple[int, int], *, objects: int | None = None,
               crowd: bool = False) -> Scene:
    """Draw a picture and its truth.

    Args:
        rng: the only source of randomness.
        size: (H, W) in pixels, at least 40 x 40.
        objects: number of shapes; by default 3 to 7, in small pictures 1 or 2. Fewer are drawn if there is no room.
        crowd: begin with a region of many tiny shapes of one class.
    """
    canvas = _Canvas(draw_ground(rng, size))
    if crowd:
        _add_crowd(canvas, rng)
    small = min(size) < 80
    wanted = int(rng.integers(1, 3) if small else rng.integers(3, 8)) if objects is None else objects
    for _ in range(wanted):
        _add_shape(canvas, rng, int(rng.integers(1, len(CLASS_NAMES))), (46, 70) if small else (44, 70))
    things = [Thing(category, canvas.ids == k + 1) for k, category in enumerate(canvas.categories)]
    return Scene(canvas.image, things[int(crowd):], things[:int(crowd)], canvas.ids)


class _Canvas:
    """A picture being painted: what each pixel shows, and how large each thing was before others hid parts of it."""

    def __init__(self, image: np.ndarray):
        self.image = image
        self.ids = np.zeros(image.shape[:2], np.int32)
        self.categories: list[int] = []
        self.areas: list[int] = []

    def has_room_for(self, mask: np.ndarray) -> bool:
        """Whether every earlier thing stays visible enough behind `mask` (H, W) bool."""
        left = np.bincount(self.ids[~mask], minlength=len(self.areas) + 1)[1:]
        return bool(np.all(left >= _LEAST_VISIBLE * np.array(self.areas, int)))

    def register(self, category: int, mask: np.ndarray) -> None:
        self.categories.append(category)
        self.areas.append(int(mask.sum()))
        self.ids[mask] = len(self.areas)

    def paint(self, mask: np.ndarray, surface: np.ndarray, window: tuple[slice, slice]) -> None:
        """Lay `surface` (h, w, 3), which fills `window`, over the picture where `mask` (H, W) is, with a soft edge."""
        alpha = cv2.GaussianBlur(mask[window].astype(np.uint8) * 255, (3, 3), 0).astype(int)[..., None]
        self.image[window] = (self.image[window] * (255 - alpha) + surface * alpha + 127) // 255


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that `mask` (H, W) bool touches, with a margin for the soft edge."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (slice(max(y - 2, 0), min(y + height + 2, mask.shape[0])),
            slice(max(x - 2, 0), min(x + width + 2, mask.shape[1])))


def _add_shape(canvas: _Canvas, rng: np.random.Generator, category: int, percent: tuple[int, int]) -> None:
    """Place one shape whose diameter is `percent` (from, to) of the short side, where it hides no other too much."""
    height, width = canvas.ids.shape
    for _ in range(_TRIES):
        radius = int(rng.integers(*percent)) * min(height, width) / 200
        x, y = (int(rng.integers(s * 12 // 100, s * 88 // 100)) for s in (width, height))
        full = draw_outline(rng, category, (height, width), centre=(x, y), radius=radius)
        if canvas.has_room_for(full):
            window = _window(full)
            pattern = draw_pattern(rng, category, window, centre=(x, y))
            canvas.paint(full, draw_colours(rng)[pattern.astype(int)], window)
            canvas.register(category, full)
            return


def _add_crowd(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Fill an elliptic region with tiny shapes of one category; all of them together are one thing."""
    height, width = canvas.ids.shape
    category = int(rng.integers(1, len(CLASS_NAMES)))
    region_x, region_y = (int(rng.integers(s * 3 // 10, s * 7 // 10)) for s in (width, height))
    reach_x, reach_y = width // 3, height // 4
    union, colours = np.zeros(canvas.ids.shape, bool), draw_colours(rng)
    for y in range(7, height - 6, 13):
        for x in range(7, width - 6, 13):
            if ((x - region_x) / reach_x) ** 2 + ((y - region_y) / reach_y) ** 2 < 1:
                centre = x + int(rng.integers(-2, 3)), y + int(rng.integers(-2, 3))
                mask = draw_outline(rng, category, canvas.ids.shape, centre=centre, radius=7)
                window = _window(mask)
                pattern = draw_pattern(rng, category, window, centre=centre)
                canvas.paint(mask, colours[pattern.astype(int)], window)
                union |= mask
    canvas.register(category, union)


# --- ground and colours -----------------------------------------------------------------------------------------------

def draw_colours(rng: np.random.Generator) -> np.ndarray:
    """Two colours (2, 3) int, one dark and one light, in either order."""
    pair = np.stack([_DARK[rng.integers(len(_DARK))], _LIGHT[rng.integers(len(_LIGHT))]])
    pair = np.clip(pair + rng.integers(-18, 19, pair.shape), 0, 255)
    return pair[::-1] if rng.integers(2) else pair


def draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Ground (H, W, 3) uint8: a smooth run from one colour to another, mottled and grained with low contrast."""
    colours = np.concatenate([draw_colours(rng), draw_colours(rng)])[rng.permutation(4)[:2]]
    run = _smooth_noise(rng, size, cells=3)
    image = (colours[0] * (255 - run) + colours[1] * run) // 255
    mottle = (_smooth_noise(rng, size, cells=max(3, min(size) // 10)) - 128) * 28 // 128
    grain = rng.integers(-7, 8, (*size, 1))
    return np.clip(image + mottle + grain, 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], *, cells: int) -> np.ndarray:
    """(H, W, 1) int in 0..255: a random grid of `cells` x `cells`, enlarged and smoothed."""
    grid = rng.integers(0, 256, (cells, cells)).astype(np.uint8)
    field = cv2.resize(grid, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
    reach = min(size) // cells // 2 * 2 + 1
    return cv2.GaussianBlur(field, (reach, reach), 0).astype(int)[..., None]


# --- outlines ---------------------------------------------------------------------------------------------------------

def draw_outline(rng: np.random.Generator, category: int, size: tuple[int, ...], *, centre: tuple[int, int],
                 radius: float) -> np.ndarray:
    """Mask (H, W) bool of a class's outline around `centre` (x, y), as far as it lies in the picture."""
    turn = int(rng.integers(_ANGLES)) * 2 * math.pi / _ANGLES
    squash = int(rng.integers(80, 101)) / 100
    contours = []
    for corners, reach in _unit_outline(category):
        angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
        reaches = [radius * reach[k % len(reach)] for k in range(corners)]
        points = [(centre[0] + r * math.cos(a), centre[1] + r * squash * math.sin(a)) for a, r in zip(angles, reaches)]
        # Rounded at once: the last digit of a cosine, which differs between machines, never reaches a pixel.
        contours.append(np.array([[round(v * (1 << _SHIFT)) for v in p] for p in points], np.int32))
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, contours, (1,), cv2.LINE_8, _SHIFT)  # several contours: even-odd, so that a ring is open
    return mask > 0


def _unit_outline(category: int) -> list[tuple[int, tuple[float, ...]]]:
    """Contours of a class as (number of corners, distances of the corners from the centre, repeating)."""
    outlines: dict[str, list[tuple[int, tuple[float, ...]]]] = {
        "disc": [(48, (1.0,))],
        "triangle": [(3, (1.2,))],
        "square": [(4, (1.1,))],
        "ring": [(48, (1.0,)), (48, (0.38,))],
        "star": [(10, (1.2, 0.64))]}
    return outlines[CLASS_NAMES[category]]


# --- textures ---------------------------------------------------------------------------------------------------------

def draw_pattern(rng: np.random.Generator, category: int, window: tuple[slice, slice], *,
                 centre: tuple[int, int]) -> np.ndarray:
    """Pattern (h, w) bool of a class's texture in a window of the picture.

    Direction, phase and period (6 to 8 pixels, of stripes 5 to 6, which tells them from bands) are random; `centre` is
    that of the shape, (x, y) in the picture.

    Discs are dotted, triangles striped, squares chequered, rings banded around their centre, stars speckled.
    """
    angle = int(rng.integers(_ANGLES)) * 2 * math.pi / _ANGLES
    cos, sin = round(_UNIT * math.cos(angle)), round(_UNIT * math.sin(angle))
    period = int(rng.integers(6 * _UNIT, 8 * _UNIT))
    y, x = np.mgrid[window]
    along = x * cos + y * sin + int(rng.integers(period))
    across = y * cos - x * sin + int(rng.integers(period))
    name = CLASS_NAMES[category]
    if name == "disc":
        along = along + (across // period) % 2 * (period // 2)
        return (along % period - period // 2) ** 2 + (across % period - period // 2) ** 2 < (period * 3 // 10) ** 2
    if name == "triangle":
        return along * 5 // 4 % period < period // 2
    if name == "square":
        return (along * 2 // period + across * 2 // period) % 2 == 0
    if name == "ring":
        distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2) * _UNIT
        return distance.astype(int) % period < period // 3
    speckle = rng.integers(0, 2, (32, 32)) > 0
    return speckle[across * 2 // period % 32, along * 2 // period % 32]
