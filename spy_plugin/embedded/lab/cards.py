"""The lab's pictures: cards of 4 x 4 cells; a cell shows an attribute's icon and its value.

A cell is 28 x 28 pixels, one image token of a Qwen2-VL. A card consists only of its cells, so that
training can assemble the processed picture from a table (`tiles`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spy_plugin.embedded.lab.world import ATTRIBUTES, DIGITS, Attribute

GRID = 4
CELL = 28
SIDE = GRID * CELL
SHOWN = 8
"""Number of attributes on a card; the other cells are empty."""

BACKGROUNDS = ("#f4f1e8", "#e6eef5", "#ebf3e6", "#f3e8ee")
_INK = "#20242c"
_RGB = {
    "red": "#d62828",
    "orange": "#f08c1a",
    "yellow": "#f2cf1d",
    "green": "#2c9a45",
    "blue": "#2457c5",
    "purple": "#8a3fb0",
    "brown": "#80552b",
    "black": "#17181c",
}
# Seven-segment strokes in the unit square: readable at ten pixels, and equal in every Pillow.
_SEGMENTS = {
    "a": ((0, 0), (1, 0)),
    "b": ((1, 0), (1, 0.5)),
    "c": ((1, 0.5), (1, 1)),
    "d": ((0, 1), (1, 1)),
    "e": ((0, 0.5), (0, 1)),
    "f": ((0, 0), (0, 0.5)),
    "g": ((0, 0.5), (1, 0.5)),
}
_DIGITS = {
    "2": "abged",
    "3": "abgcd",
    "4": "fgbc",
    "5": "afgcd",
    "6": "afgedc",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
}
_SCALE = 4  # drawn larger by this factor, then averaged down, for smooth edges


@dataclass(frozen=True)
class Card:
    """The content of a card.

    Attributes:
        background: Index into `BACKGROUNDS`.
        cells: `GRID` x `GRID` entries, row by row: (index into `ATTRIBUTES`, index of the value
            among its values), or None for an empty cell.
    """

    background: int
    cells: tuple[tuple[int, int] | None, ...]

    def values(self) -> dict[str, str]:
        """Return word -> value of every attribute shown, in reading order."""
        shown = [cell for cell in self.cells if cell is not None]
        return {ATTRIBUTES[a].word: ATTRIBUTES[a].values[v] for a, v in shown}


def random_card(rng: random.Random) -> Card:
    """Return a card with `SHOWN` different attributes at random places."""
    places = rng.sample(range(GRID * GRID), SHOWN)
    attributes = rng.sample(range(len(ATTRIBUTES)), SHOWN)
    cells: list[tuple[int, int] | None] = [None] * (GRID * GRID)
    for place, attribute in zip(places, attributes, strict=True):
        cells[place] = attribute, rng.randrange(len(ATTRIBUTES[attribute].values))
    return Card(rng.randrange(len(BACKGROUNDS)), tuple(cells))


def draw(card: Card) -> Image.Image:
    """Return the picture: `SIDE` x `SIDE` pixels, RGB."""
    return Image.fromarray(pixels(card))


def pixels(card: Card) -> NDArray[np.uint8]:
    """Return the picture as an array [SIDE, SIDE, 3]."""
    table = tiles()[card.background]
    cells = np.stack([table[tile_number(cell)] for cell in card.cells])
    grid = cells.reshape(GRID, GRID, CELL, CELL, 3)
    picture: NDArray[np.uint8] = grid.transpose(0, 2, 1, 3, 4).reshape(SIDE, SIDE, 3)
    return picture


def tile_number(cell: tuple[int, int] | None) -> int:
    """Return the index of a cell's tile in `tiles`; 0 for an empty cell."""
    return 0 if cell is None else 1 + cell[0] * len(DIGITS) + cell[1]


@lru_cache(maxsize=1)
def tiles() -> NDArray[np.uint8]:
    """Return every cell on every background: [backgrounds, 1 + attributes * 8, 28, 28, 3]."""
    return np.stack(
        [
            np.stack(
                [_tile(background, None, "")]
                + [_tile(background, each, value) for each in ATTRIBUTES for value in each.values]
            )
            for background in BACKGROUNDS
        ]
    )


def _tile(background: str, attribute: Attribute | None, value: str) -> NDArray[np.uint8]:
    image = Image.new("RGB", (CELL * _SCALE, CELL * _SCALE), background)
    if attribute is not None:
        pen = ImageDraw.Draw(image)
        _icon(pen, ATTRIBUTES.index(attribute))
        _value(pen, value)
    return np.asarray(image.reduce(_SCALE))


def _icon(pen: ImageDraw.ImageDraw, number: int) -> None:
    """Draw the attribute's icon, left in the cell: one of 12 patterns of 3 x 4 dots."""
    pattern = (0xC35, 0x3CA, 0xA96, 0x569, 0xF0F, 0x99F, 0x6F6, 0xE7E, 0x1F8, 0xBD2, 0x74B, 0xD2D)
    for dot in range(12):
        x, y = 2 + 3.5 * (dot % 3), 5 + 4.7 * (dot // 3)
        filled = pattern[number] >> dot & 1
        box = [each * _SCALE for each in (x, y, x + 3, y + 4)]
        if filled:
            pen.rectangle(box, fill=_INK)


def _value(pen: ImageDraw.ImageDraw, value: str) -> None:
    """Draw the value, right in the cell: a digit, a patch of colour, or a shape."""
    left, top, size = 14.5, 7.0, 11.0
    box = [each * _SCALE for each in (left, top, left + size, top + size + 3)]
    if value in _RGB:
        pen.rectangle(box, fill=_RGB[value])
    elif value in _DIGITS:
        for name in _DIGITS[value]:
            (x1, y1), (x2, y2) = _SEGMENTS[name]
            ends = [left + 1 + x1 * 8, top + y1 * 14, left + 1 + x2 * 8, top + y2 * 14]
            pen.line([each * _SCALE for each in ends], fill=_INK, width=2 * _SCALE)
    else:
        _shape(pen, value, (left + size / 2) * _SCALE, 14 * _SCALE, size / 2 * _SCALE)


def _shape(pen: ImageDraw.ImageDraw, name: str, x: float, y: float, r: float) -> None:
    def around(*radii_turns: tuple[float, float]) -> list[tuple[float, float]]:
        return [
            (x + r * radius * sin(2 * pi * turn), y - r * radius * cos(2 * pi * turn))
            for radius, turn in radii_turns
        ]

    def box(x1: float, y1: float, x2: float, y2: float) -> list[float]:
        return [x + x1 * r, y + y1 * r, x + x2 * r, y + y2 * r]

    if name == "circle":
        pen.ellipse(box(-1, -1, 1, 1), fill=_INK)
    elif name == "square":
        pen.rectangle(box(-0.85, -0.85, 0.85, 0.85), outline=_INK, width=2 * _SCALE)
    elif name == "triangle":
        pen.polygon(around((1.1, 0), (1.1, 1 / 3), (1.1, 2 / 3)), fill=_INK)
    elif name == "star":
        pen.polygon(around(*((1.1 if k % 2 == 0 else 0.45, k / 10) for k in range(10))), fill=_INK)
    elif name == "heart":
        pen.ellipse(box(-1, -0.8, 0.05, 0.2), fill=_INK)
        pen.ellipse(box(-0.05, -0.8, 1, 0.2), fill=_INK)
        pen.polygon([(x - 0.95 * r, y), (x + 0.95 * r, y), (x, y + 1.1 * r)], fill=_INK)
    elif name == "moon":
        pen.pieslice(box(-1.3, -1, 0.7, 1), 270, 90, fill=_INK)
    elif name == "cross":
        pen.rectangle(box(-0.25, -1, 0.25, 1), fill=_INK)
        pen.rectangle(box(-1, -0.25, 1, 0.25), fill=_INK)
    else:  # arrow
        pen.polygon([(x - r, y - 0.6 * r), (x + r, y), (x - r, y + 0.6 * r)], outline=_INK, width=6)
