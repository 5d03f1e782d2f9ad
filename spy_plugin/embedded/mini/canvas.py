"""A 640 x 480 drawing surface that records every text written on it.

All lengths are in pixels of the finished picture. The canvas draws at twice the size and scales
down at the end, which smooths every edge. The only font is the one inside Pillow, with one weight
and ASCII glyphs: bold text has a stroke, and handwriting uses that font with slanted glyphs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFilter, ImageFont, features

from spy_plugin.errors import SpyBenchError

WIDTH, HEIGHT = 640, 480
SCALE = 2
MIN_SIZE = 9.0
"""Smallest font size to which a text shrinks to fit its width."""
INK = "#22262e"
Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Text:
    """A text as drawn: its words and the box of its ink (left, top, right, bottom)."""

    words: str
    box: Box


@lru_cache(maxsize=256)
def font(pixels: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font at a size in device pixels.

    Raises:
        SpyBenchError: this Pillow was built without FreeType.
    """
    loaded = ImageFont.load_default(size=pixels) if features.check("freetype2") else None
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise SpyBenchError(
            "this Pillow was built without FreeType, so no text can be drawn. Install the wheel: "
            "pip install --force-reinstall --only-binary :all: pillow"
        )
    return loaded


def mix(a: str, b: str, share: float) -> str:
    """Return a colour between two ``#rrggbb`` colours: `a` at share 0, `b` at share 1."""
    pairs = [(int(a[i : i + 2], 16), int(b[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in pairs)


def _device(points: Sequence[float]) -> list[float]:
    return [value * SCALE for value in points]


class Canvas:
    """Drawing primitives.

    Attributes:
        image: The picture being drawn, at twice the size.
        texts: Every text drawn so far, in order.
        rng: The only source of randomness, seeded by the picture's name.
    """

    def __init__(self, seed: str, background: str = "#ffffff") -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), background)
        self.texts: list[Text] = []
        self.rng = random.Random(seed)
        self._draw = ImageDraw.Draw(self.image)

    def finish(self) -> Image.Image:
        """Return the picture at its final size."""
        return self.image.reduce(SCALE)

    # ---- surfaces

    def gradient(self, box: Box, top: str, bottom: str) -> None:
        """Fill a box with a gradient from one colour at its top to another at its bottom."""
        left, upper, right, lower = (round(value) for value in _device(box))
        for y in range(upper, lower):
            colour = mix(top, bottom, (y - upper) / max(1, lower - upper - 1))
            self._draw.line((left, y, right - 1, y), fill=colour)

    def desk(self, colour: str) -> None:
        """Fill the picture with a table top: soft light from above and a faint grain."""
        self.gradient(
            (0, 0, WIDTH, HEIGHT), mix(colour, "#ffffff", 0.16), mix(colour, "#000000", 0.16)
        )
        for _ in range(90):
            y, x = self.rng.uniform(0, HEIGHT), self.rng.uniform(-200, WIDTH)
            shade = mix(
                colour, self.rng.choice(("#000000", "#ffffff")), self.rng.uniform(0.02, 0.09)
            )
            end = x + self.rng.uniform(80, 420)
            self._draw.line(_device((x, y, end, y + self.rng.uniform(-2, 2))), fill=shade, width=1)

    def shadow(self, box: Box, radius: float = 10, strength: float = 0.42, drop: float = 6) -> None:
        """Darken softly around a box, as if it lay a little above the table."""
        small = Image.new("L", (WIDTH // 2, HEIGHT // 2), 0)
        left, top, right, bottom = box
        ImageDraw.Draw(small).rounded_rectangle(
            (left / 2, (top + drop) / 2, right / 2, (bottom + drop) / 2),
            radius / 2,
            fill=round(255 * strength),
        )
        reach, (most_right, most_low) = 12, small.size
        near = (
            max(0, int(left / 2) - reach),
            max(0, int(top / 2) - reach),
            min(most_right, int(right / 2) + reach),
            min(most_low, int((bottom + drop) / 2) + reach),
        )
        mask = small.filter(ImageFilter.GaussianBlur(4)).crop(near)
        size = (mask.width * 2 * SCALE, mask.height * 2 * SCALE)
        self.image.paste("#000000", (near[0] * 2 * SCALE, near[1] * 2 * SCALE), mask.resize(size))

    def sheet(self, box: Box, colour: str = "#fdfcf8", radius: float = 2) -> None:
        """Draw a piece of paper or plastic with its shadow."""
        self.shadow(box, radius)
        self.rect(box, colour, radius)

    # ---- shapes

    def rect(
        self,
        box: Box,
        fill: str | None = None,
        radius: float = 0,
        line: str | None = None,
        width: float = 1,
    ) -> None:
        """Draw a rectangle, rounded if `radius` is not 0."""
        pen = max(1, round(width * SCALE))
        self._draw.rounded_rectangle(
            _device(box), radius * SCALE, fill=fill, outline=line, width=pen
        )

    def line(self, points: Sequence[Point], fill: str = INK, width: float = 1) -> None:
        """Draw a line through the points, with round joints."""
        flat = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.line(flat, fill=fill, width=max(1, round(width * SCALE)), joint="curve")

    def dashes(
        self, start: Point, end: Point, fill: str = INK, width: float = 1, step: float = 8
    ) -> None:
        """Draw a horizontal or vertical dashed line."""
        (x0, y0), (x1, y1) = start, end
        count = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) // step))
        for i in range(count):
            a, b = i / count, (i + 0.55) / count
            ends = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in (a, b)]
            self.line(ends, fill, width)

    def ellipse(
        self, box: Box, fill: str | None = None, line: str | None = None, width: float = 1
    ) -> None:
        """Draw an ellipse inside a box."""
        pen = max(1, round(width * SCALE))
        self._draw.ellipse(_device(box), fill=fill, outline=line, width=pen)

    def disc(self, x: float, y: float, radius: float, fill: str) -> None:
        """Draw a filled circle around a point."""
        self.ellipse((x - radius, y - radius, x + radius, y + radius), fill)

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def arc(self, box: Box, start: float, end: float, line: str, width: float = 1) -> None:
        """Draw part of an ellipse's outline, with angles as in `pie`."""
        self._draw.arc(_device(box), start, end, fill=line, width=max(1, round(width * SCALE)))

    def pie(self, box: Box, start: float, end: float, fill: str) -> None:
        """Draw a slice of an ellipse, with angles in degrees clockwise from three o'clock."""
        self._draw.pieslice(_device(box), start, end, fill=fill)

    @contextmanager
    def inside(self, box: Box, radius: float = 0) -> Iterator[None]:
        """Restrict what the ``with`` block draws to the inside of a box."""
        whole, pen = self.image, self._draw
        self.image = whole.copy()
        self._draw = ImageDraw.Draw(self.image)
        yield
        left, top, right, bottom = (round(value) for value in _device(box))
        mask = Image.new("L", (right - left + 1, bottom - top + 1), 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, right - left, bottom - top), radius * SCALE, fill=255
        )
        part = self.image.crop((left, top, right + 1, bottom + 1))
        whole.paste(part, (left, top), mask)
        self.image, self._draw = whole, pen

    # ---- text

    def measure(self, words: str, size: float) -> float:
        """Return the width of a text."""
        return font(round(size * SCALE)).getlength(words) / SCALE

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 16,
        fill: str = INK,
        *,
        bold: bool = False,
        anchor: str = "la",
        width: float | None = None,
    ) -> Box:
        """Write one line, shrunk to `width` if given; return its box. Anchors are Pillow's."""
        while width is not None and self.measure(words, size) > width and size > MIN_SIZE:
            size -= 0.5
        face = font(round(size * SCALE))
        stroke = max(1, round(size * SCALE / 34)) if bold else 0
        place = (x * SCALE, y * SCALE)
        self._draw.text(
            place, words, fill=fill, font=face, anchor=anchor, stroke_width=stroke, stroke_fill=fill
        )
        box = self._draw.textbbox(place, words, font=face, anchor=anchor, stroke_width=stroke)
        return self.note(words, tuple(value / SCALE for value in box))

    def note(self, words: str, box: Sequence[float]) -> Box:
        """Record a text that was drawn by other means."""
        left, top, right, bottom = box
        self.texts.append(Text(words, (left, top, right, bottom)))
        return left, top, right, bottom

    def wrap(self, words: str, size: float, width: float) -> list[str]:
        """Break a text into lines no wider than `width`."""
        lines = [""]
        for word in words.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.measure(longer, size) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def paragraph(
        self,
        x: float,
        y: float,
        words: str,
        width: float,
        size: float = 15,
        fill: str = INK,
        *,
        leading: float = 1.4,
        bold: bool = False,
    ) -> float:
        """Write a text in lines from the left; return the y below the last one."""
        for line in self.wrap(words, size, width):
            self.text(x, y, line, size, fill, bold=bold)
            y += size * leading
        return y

    def spaced(
        self, x: float, y: float, words: str, size: float, step: float, fill: str = INK
    ) -> None:
        """Write with a fixed advance, as for MRZ lines and card numbers."""
        face = font(round(size * SCALE))
        for i, glyph in enumerate(words):
            self._draw.text(
                ((x + (i + 0.5) * step) * SCALE, y * SCALE),
                glyph,
                fill=fill,
                font=face,
                anchor="ma",
            )
        self.note(words, (x, y, x + step * len(words), y + size))

    def handwriting(
        self, x: float, y: float, words: str, size: float = 22, fill: str = "#1f3b8a"
    ) -> Box:
        """Write like a hand: slant, turn and shift each glyph a little; `y` is the base line."""
        face = font(round(size * SCALE))
        pad, start = round(size), x
        for glyph in words:
            advance = face.getlength(glyph) / SCALE
            tile = Image.new("L", (round(face.getlength(glyph)) + 2 * pad, 3 * pad), 0)
            ImageDraw.Draw(tile).text((pad, 2 * pad), glyph, fill=255, font=face, anchor="ls")
            shear = 0.24 + self.rng.uniform(-0.05, 0.05)
            tile = tile.transform(
                tile.size,
                Image.Transform.AFFINE,
                (1, shear, -2 * pad * shear, 0, 1, 0),
                Image.Resampling.BICUBIC,
            ).rotate(self.rng.uniform(-5, 5), Image.Resampling.BICUBIC, center=(pad, 2 * pad))
            corner = (
                round(x * SCALE) - pad,
                round((y + self.rng.uniform(-1, 1)) * SCALE) - 2 * pad,
            )
            self.image.paste(fill, corner, tile)
            x += advance * (0.97 if glyph != " " else 1.25)
        return self.note(words, (start, y - size * 0.8, x + size * 0.2, y + size * 0.25))
