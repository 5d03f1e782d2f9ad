"""Draw what many pictures share: portraits, barcodes, stamps, signatures, tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from spy_plugin.embedded.mini.canvas import INK, Box, Canvas, mix

Fields = Mapping[str, Any]
"""A picture's row of the tables: the fields of its person and its own."""


def portrait(c: Canvas, box: Box, f: Fields, backdrop: str = "#cfd8e0") -> None:
    """Draw head and shoulders of a person: skin, hair and shirt from ``f["look"]``."""
    skin, hair, shirt = f["look"]
    left, top, right, bottom = box
    w, h, x = right - left, bottom - top, (left + right) / 2
    y = top + h * 0.43
    rx, ry = w * 0.19, h * 0.2
    with c.inside(box, radius=3):
        c.gradient(box, mix(backdrop, "#ffffff", 0.45), backdrop)
        _hair_behind(c, f["style"], x, y, rx, ry, hair)
        c.ellipse((x - w * 0.42, top + h * 0.74, x + w * 0.42, bottom + h * 0.5), shirt)
        c.rect(
            (x - rx * 0.42, y + ry * 0.6, x + rx * 0.42, top + h * 0.78),
            mix(skin, "#000000", 0.13),
            5,
        )
        c.pie(
            (x - w * 0.14, top + h * 0.68, x + w * 0.14, top + h * 0.84),
            0,
            180,
            mix(skin, "#000000", 0.06),
        )
        for side in (-1, 1):
            c.disc(x + side * rx, y + ry * 0.08, rx * 0.17, mix(skin, "#000000", 0.1))
        if f["style"] == "beard":
            c.ellipse((x - rx * 0.97, y - ry * 0.2, x + rx * 0.97, y + ry * 1.16), hair)
        c.ellipse((x - rx, y - ry, x + rx, y + ry * (1 if f["style"] != "beard" else 0.72)), skin)
        _hair_before(c, f["style"], x, y, rx, ry, hair)
        for side in (-1, 1):
            ex = x + side * rx * 0.42
            c.line(
                [(ex - rx * 0.17, y - ry * 0.2), (ex + rx * 0.17, y - ry * 0.22)],
                mix(hair, "#000000", 0.3),
                1.2,
            )
            c.disc(ex, y + ry * 0.02, max(1.2, rx * 0.09), "#2b2320")
        c.line(
            [(x, y + ry * 0.12), (x - rx * 0.07, y + ry * 0.33), (x + rx * 0.05, y + ry * 0.35)],
            mix(skin, "#000000", 0.25),
            1,
        )
        c.line(
            [(x - rx * 0.26, y + ry * 0.57), (x, y + ry * 0.62), (x + rx * 0.26, y + ry * 0.57)],
            mix(skin, "#7a1f1f", 0.6),
            1.4,
        )


def _hair_behind(
    c: Canvas, style: str, x: float, y: float, rx: float, ry: float, hair: str
) -> None:
    if style == "long":
        c.rect(
            (x - rx * 1.25, y - ry * 0.5, x + rx * 1.25, y + ry * 1.75),
            mix(hair, "#000000", 0.12),
            rx * 0.7,
        )
    elif style == "bun":
        c.disc(x, y - ry * 1.28, rx * 0.46, hair)
    elif style == "curls":
        for i in range(11):
            angle = math.radians(150 + i * 24)
            c.disc(
                x + rx * 1.02 * math.cos(angle),
                y - ry * 0.12 + ry * 0.98 * math.sin(angle),
                rx * 0.36,
                hair,
            )


def _hair_before(
    c: Canvas, style: str, x: float, y: float, rx: float, ry: float, hair: str
) -> None:
    if style == "bald":
        for side in (-1, 1):
            c.ellipse((x + side * rx - rx * 0.16, y - ry * 0.5, x + side * rx + rx * 0.16, y), hair)
        return
    c.pie((x - rx * 1.08, y - ry * 1.14, x + rx * 1.08, y + ry * 0.5), 186, 354, hair)
    if style in ("long", "bun"):
        c.pie((x - rx * 1.1, y - ry * 1.05, x - rx * 0.1, y + ry * 0.55), 110, 290, hair)
    elif style == "short":
        c.rect((x - rx * 1.06, y - ry * 0.5, x - rx * 0.86, y - ry * 0.02), hair, 2)
        c.rect((x + rx * 0.86, y - ry * 0.5, x + rx * 1.06, y - ry * 0.02), hair, 2)


def barcode(c: Canvas, box: Box, colour: str = INK) -> None:
    """Fill a box with vertical bars of random widths."""
    left, top, right, bottom = box
    x = left
    while x < right - 2:
        bar = c.rng.choice((1, 1, 1.5, 2, 3))
        c.rect((x, top, min(x + bar, right) - 0.5, bottom), colour)
        x += bar + c.rng.choice((1, 1.5, 2.5))


def matrix_code(c: Canvas, x: float, y: float, size: float, cells: int = 21) -> None:
    """Draw a square code with three finder marks; it encodes nothing."""
    cell = size / cells
    c.rect((x - 4, y - 4, x + size + 4, y + size + 4), "#ffffff", 2)
    for row in range(cells):
        for column in range(cells):
            if c.rng.random() < 0.48:
                left, top = x + column * cell, y + row * cell
                c.rect((left, top, left + cell - 0.5, top + cell - 0.5), INK)
    for column, row in ((0, 0), (cells - 7, 0), (0, cells - 7)):
        for inset, colour in ((-1, "#ffffff"), (0, INK), (1, "#ffffff"), (2, INK)):
            left, top = x + (column + inset) * cell, y + (row + inset) * cell
            side = (7 - 2 * inset) * cell
            frame = (
                max(left, x),
                max(top, y),
                min(left + side, x + size),
                min(top + side, y + size),
            )
            c.rect(frame, colour)


def guilloche(c: Canvas, box: Box, colour: str, lines: int = 11) -> None:
    """Draw fine woven lines, as on banknotes and cards."""
    left, top, right, bottom = box
    height, phase = bottom - top, c.rng.uniform(0, 6)
    with c.inside(box, radius=12):
        for i in range(lines):
            shift = phase + i * 0.42
            points = []
            for step in range(81):
                x = left + (right - left) * step / 80
                swing = math.sin(step / 8 + shift) + 0.6 * math.sin(step / 3.7 - shift * 2)
                points.append((x, top + height * (0.5 + 0.27 * swing)))
            c.line(points, colour, 0.5)


def signature(
    c: Canvas, x: float, y: float, words: str, size: float = 22, colour: str = "#1b2f7a"
) -> None:
    """Draw a handwritten name with a flourish under it."""
    box = c.handwriting(x, y, words, size, colour)
    right, low = box[2], y + size * 0.42
    points = []
    for step in range(41):
        t = step / 40
        points.append(
            (
                x + (right - x) * (0.05 + 0.95 * t),
                low + size * 0.1 * math.sin(t * 11) * (1 - t) - t * 3,
            )
        )
    c.line(points, colour, 1.1)


def stamp(c: Canvas, x: float, y: float, radius: float, colour: str) -> None:
    """Draw a round office stamp: two rings, a star, and strokes for its lettering."""
    for share, width in ((1.0, 2.0), (0.68, 1.0)):
        r = radius * share
        c.ellipse((x - r, y - r, x + r, y + r), line=colour, width=width)
    for i in range(36):
        angle = math.radians(i * 10 + c.rng.uniform(-1, 1))
        if i % 9:
            inner, outer = radius * 0.76, radius * c.rng.uniform(0.86, 0.92)
            ends = [(x + r * math.cos(angle), y + r * math.sin(angle)) for r in (inner, outer)]
            c.line(ends, colour, 1.6)
    star(c, x, y, radius * 0.42, colour)


def star(c: Canvas, x: float, y: float, radius: float, colour: str) -> None:
    """Draw a five-pointed star."""
    points = []
    for i in range(10):
        r, angle = radius * (1 if i % 2 == 0 else 0.42), math.radians(i * 36 - 90)
        points.append((x + r * math.cos(angle), y + r * math.sin(angle)))
    c.polygon(points, colour)


def crest(c: Canvas, x: float, y: float, size: float, colour: str, mark: str = "#ffffff") -> None:
    """Draw a shield with a star: the arms of a fictional country or school."""
    w, h = size * 0.42, size * 0.5
    c.polygon(
        [
            (x - w, y - h),
            (x + w, y - h),
            (x + w, y),
            (x + w * 0.6, y + h * 0.65),
            (x, y + h),
            (x - w * 0.6, y + h * 0.65),
            (x - w, y),
        ],
        colour,
    )
    star(c, x, y - size * 0.06, size * 0.24, mark)


def labelled(
    c: Canvas,
    x: float,
    y: float,
    label: str,
    value: str,
    *,
    size: float = 17,
    width: float = 200,
    tint: str = "#6a7380",
    gap: float = 14,
    bold: bool = True,
) -> None:
    """Draw a small caption and, under it, the value: a cell of a card or form."""
    c.text(x, y, label, 10, tint, width=width)
    c.text(x, y + gap, value, size, bold=bold, width=width)


def grid(
    c: Canvas,
    x: float,
    y: float,
    cells: Sequence[Sequence[tuple[str, str]]],
    *,
    column: float,
    row: float = 44,
    size: float = 17,
    tint: str = "#6a7380",
) -> None:
    """Draw rows of captioned values in columns of width `column`; a single cell spans the row."""
    widest = max(len(line) for line in cells)
    for i, line in enumerate(cells):
        share = column * widest / len(line)
        for j, (label, value) in enumerate(line):
            labelled(
                c, x + j * share, y + i * row, label, value, size=size, width=share - 10, tint=tint
            )
