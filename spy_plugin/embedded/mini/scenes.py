"""Draw scenes: parked cars, the seaside, a museum hall, postcards of fictional places."""

from __future__ import annotations

import math

from spy_plugin.embedded.mini.canvas import INK, Canvas, Point, mix
from spy_plugin.embedded.mini.figures import Fields


def car(c: Canvas, f: Fields) -> None:
    """Draw the back of a parked car, with number plate and the owner's permit."""
    paint = f["tint"]
    dark, light = mix(paint, "#000000", 0.4), mix(paint, "#ffffff", 0.3)
    c.gradient((0, 0, 640, 300), "#b9d3e6", "#e8eff2")
    for x, w, h, colour in (
        (0, 150, 190, "#b7a48e"),
        (140, 120, 150, "#8f9ba6"),
        (430, 110, 170, "#a3aaa0"),
        (530, 120, 210, "#bd9a80"),
    ):
        c.rect((x, 300 - h, x + w, 300), colour)
        for i in range(3):
            for j in range(3):
                c.rect(
                    (x + 14 + i * 36, 312 - h + j * 46, x + 34 + i * 36, 338 - h + j * 46),
                    mix(colour, "#f6efc8", 0.55),
                )
    c.rect((0, 290, 640, 312), "#cfcac0")
    c.gradient((0, 312, 640, 480), "#7b7f84", "#5c6066")
    c.shadow((96, 430, 544, 462), 14, 0.7)
    for x in (116, 440):
        c.rect((x, 390, x + 84, 462), "#1d1f22", 14)
    c.polygon([(164, 92), (476, 92), (534, 236), (106, 236)], dark)
    c.polygon([(180, 106), (460, 106), (506, 222), (134, 222)], "#3b4a57")
    c.polygon([(180, 106), (300, 106), (220, 222), (134, 222)], "#50626f")
    c.rect((84, 214, 556, 424), paint, 42)
    c.rect((96, 222, 544, 262), light, 20)
    c.rect((92, 340, 548, 420), mix(paint, "#000000", 0.15), 30)
    for x in (96, 462):
        c.rect((x, 262, x + 82, 310), "#c8242c", 12)
        c.rect((x + 8, 270, x + 74, 286), "#f08a6a", 6)
    c.text(320, 270, f["make"], 20, mix(paint, "#ffffff", 0.75), anchor="ma", bold=True)
    c.rect((352, 122, 452, 210), "#fdfbf2", 4)
    c.rect((352, 122, 452, 142), "#2f6f4f", 4)
    c.text(402, 125, "PERMIT", 13, "#ffffff", anchor="ma", bold=True)
    c.text(402, 148, f["permit"], 13, "#4a4f58", anchor="ma")
    c.text(402, 168, f["first"], 17, anchor="ma", bold=True, width=94)
    c.text(402, 188, f["last"], 17, anchor="ma", bold=True, width=94)
    plate = (196, 318, 444, 398)
    c.shadow(plate, 6, 0.5, 3)
    c.rect(plate, f["plate_colour"], 8, "#30343a", 2)
    c.text(320, 323, f["region"], 14, "#2b3a67", anchor="ma", bold=True, width=220)
    c.text(320, 343, f["plate"], 46, "#1b2340", anchor="ma", bold=True, width=230)
    for x in (208, 432):
        c.disc(x, 328, 3, "#8a919b")


def _bather(
    c: Canvas, x: float, foot: float, size: float, wear: str, colour: str, skin: str
) -> None:
    """Draw a schematic figure, as on signs, in swimwear; `foot` is the y of its soles."""
    head, neck, hip = foot - size * 0.92, foot - size * 0.83, foot - size * 0.47
    for side in (-1, 1):
        c.line([(x + side * size * 0.06, hip), (x + side * size * 0.08, foot)], skin, size * 0.085)
        c.line(
            [
                (x + side * size * 0.1, neck + size * 0.04),
                (x + side * size * 0.2, hip + size * 0.02),
            ],
            skin,
            size * 0.06,
        )
    c.rect((x - size * 0.115, neck, x + size * 0.115, hip + size * 0.04), skin, size * 0.07)
    c.disc(x, head, size * 0.068, skin)
    c.pie(
        (x - size * 0.073, head - size * 0.08, x + size * 0.073, head + size * 0.06),
        180,
        360,
        "#3a2a20",
    )
    if wear == "shorts":
        c.rect(
            (x - size * 0.12, hip - size * 0.06, x + size * 0.12, hip + size * 0.09),
            colour,
            size * 0.02,
        )
        for side in (-1, 1):
            c.rect(
                (
                    x + side * size * 0.07 - size * 0.055,
                    hip,
                    x + side * size * 0.07 + size * 0.055,
                    hip + size * 0.17,
                ),
                colour,
                size * 0.02,
            )
    else:
        c.rect(
            (x - size * 0.12, neck + size * 0.07, x + size * 0.12, hip + size * 0.07),
            colour,
            size * 0.05,
        )
        for side in (-1, 1):
            c.line(
                [(x + side * size * 0.07, neck + size * 0.1), (x + side * size * 0.06, neck)],
                colour,
                size * 0.03,
            )


def beach(c: Canvas, f: Fields) -> None:
    """Draw bathers in swimwear on a beach, like the figures of a sign."""
    c.gradient((0, 0, 640, 210), "#7fc4ea", "#dff1f6")
    c.disc(540, 70, 34, "#fff0b0")
    for x, y in ((236, 96), (370, 46)):
        for dx, r in ((0, 16), (22, 22), (46, 15)):
            c.disc(x + dx, y, r, "#ffffff")
    c.gradient((0, 200, 640, 300), "#2f8fb5", "#7cc7cf")
    c.polygon([(430, 202), (500, 202), (466, 150)], "#ffffff")
    c.polygon([(420, 204), (510, 204), (496, 216), (434, 216)], "#9b4b34")
    c.gradient((0, 292, 640, 480), "#f3dfae", "#dfc182")
    wave = [(x * 8.0, 292 + 5 * math.sin(x / 2.4)) for x in range(82)]
    c.line(wave, "#ffffff", 5)
    _umbrella(c, f["umbrella"])
    c.polygon([(470, 430), (610, 414), (626, 440), (486, 458)], mix(f["umbrella"], "#ffffff", 0.35))
    skins = ("#d9a27a", "#8d5a3c", "#efc6a4", "#b97f58")
    places = {2: (290, 400), 3: (236, 340, 444), 4: (206, 292, 378, 464)}[len(f["bathers"])]
    for i, (x, (wear, colour, size)) in enumerate(zip(places, f["bathers"], strict=True)):
        c.ellipse((x - 34, 424 + i % 2 * 12, x + 44, 438 + i % 2 * 12), "#cfae6f")
        _bather(c, x, 432 + i % 2 * 12, size, wear, colour, skins[(i + f["shade"]) % 4])
    c.rect((22, 24, 196, 72), "#1f4e79", 6)
    c.text(109, 32, f["beach"], 16, "#ffffff", bold=True, anchor="ma", width=160)
    c.text(109, 52, f["clock"], 13, "#dfe9f2", anchor="ma")


def _umbrella(c: Canvas, colour: str) -> None:
    c.line([(96, 260), (112, 430)], "#8a6a48", 5)
    for i in range(6):
        shade = colour if i % 2 else "#fdf6e6"
        c.pie((6, 206, 186, 346), 180 + i * 30, 210 + i * 30, shade)
    c.ellipse((40, 424, 180, 440), "#cfae6f")


def _statue(c: Canvas, x: float, foot: float, size: float, pose: str, stone: str) -> None:
    """Draw the plain silhouette of an antique statue, without details of the body."""

    def at(dx: float, dy: float) -> Point:
        return x + dx * size, foot - dy * size

    back = mix(stone, "#000000", 0.12)
    bow = [at(-0.13, 0.78), at(-0.26, 0.62), at(-0.2, 0.5)]
    up = [at(0.13, 0.78), at(0.27, 0.9), at(0.24, 1.06)]
    down = [at(0.13, 0.78), at(0.2, 0.62), at(0.1, 0.5)]
    arms = {
        "raised": (bow, up),
        "resting": (bow, down),
        "archer": (up, [at(-0.13, 0.78), at(-0.34, 0.8), at(-0.44, 0.82)]),
    }[pose]
    c.line([at(0.07, 0.44), at(0.13, 0.22), at(0.12, 0.0)], back, size * 0.1)
    c.line([at(-0.06, 0.44), at(-0.07, 0.22), at(-0.08, 0.0)], stone, size * 0.11)
    for arm in arms:
        c.line(arm, back, size * 0.075)
        for joint in arm:
            c.disc(*joint, size * 0.04, back)
    c.rect(
        (x - size * 0.18, foot - size * 0.82, x + size * 0.18, foot - size * 0.68),
        stone,
        size * 0.06,
    )
    c.polygon([at(-0.17, 0.76), at(0.17, 0.76), at(0.1, 0.57), at(-0.1, 0.57)], stone)
    c.rect(
        (x - size * 0.125, foot - size * 0.6, x + size * 0.125, foot - size * 0.42),
        stone,
        size * 0.055,
    )
    c.rect((x - size * 0.045, foot - size * 0.9, x + size * 0.045, foot - size * 0.76), stone)
    c.ellipse((x - size * 0.08, foot - size * 1.06, x + size * 0.08, foot - size * 0.85), stone)


def museum(c: Canvas, f: Fields) -> None:
    """Draw a museum hall with a nude marble statue as a silhouette, and its sign."""
    wall = f["tint"]
    c.gradient((0, 0, 640, 372), mix(wall, "#ffffff", 0.25), wall)
    c.gradient((0, 372, 640, 480), "#b79b78", "#8d7454")
    for x in range(-200, 900, 90):
        c.line([(320 + (x - 320) * 0.7, 372), (x, 480)], "#a3875f", 1)
    c.rect((0, 362, 640, 374), mix(wall, "#000000", 0.35))
    c.ellipse((80, -60, 380, 420), mix(wall, "#ffffff", 0.42))
    _painting(c, f["accent"])
    c.shadow((150, 420, 320, 436), 8, 0.6)
    c.rect((166, 352, 296, 428), "#d6d3cc", 2)
    c.rect((156, 340, 306, 356), "#e4e1da", 2)
    c.rect((156, 420, 306, 432), "#c4c0b7", 2)
    _statue(c, 231, 342, 252, f["pose"], "#f4f2ed")
    for x in (100, 362):
        c.line([(x, 366), (x, 448)], "#b08d3f", 5)
        c.disc(x, 362, 6, "#d1ac55")
        c.ellipse((x - 16, 444, x + 16, 454), "#8f7130")
    rope = [(100 + i * 262 / 40, 376 + 30 * math.sin(math.pi * i / 40)) for i in range(41)]
    c.line(rope, "#8b1f2d", 5)
    c.sheet((400, 246, 606, 348), "#fdfcf8", 2)
    c.text(414, 256, f["title"], 20, bold=True, width=180)
    c.text(414, 284, f["material"], 15, "#4a4f58", width=180)
    c.text(414, 304, f["artist"], 15, "#4a4f58", width=180)
    c.text(414, 324, f["hall"], 13, "#7a818b", width=180)


def _painting(c: Canvas, accent: str) -> None:
    frame = (424, 70, 584, 206)
    c.sheet(frame, "#a9822f", 2)
    with c.inside((434, 80, 574, 196)):
        c.gradient((434, 80, 574, 196), mix(accent, "#ffffff", 0.6), accent)
        c.disc(540, 110, 13, "#fdf2c4")
        c.ellipse((400, 150, 520, 260), mix(accent, "#000000", 0.35))
        c.ellipse((480, 160, 640, 270), mix(accent, "#000000", 0.5))


def postcard(c: Canvas, f: Fields) -> None:
    """Draw a postcard of a landmark, with a handwritten line across it."""
    c.desk(f["desk"])
    c.sheet((30, 26, 610, 454), "#fffdf6", 4)
    view = (46, 42, 594, 372)
    with c.inside(view):
        c.gradient(view, f["sky"][0], f["sky"][1])
        c.disc(500, 108, 30, "#fff2bd")
        c.polygon(
            [
                (46, 290),
                (150, 200),
                (250, 270),
                (360, 180),
                (480, 280),
                (594, 220),
                (594, 372),
                (46, 372),
            ],
            mix(f["tint"], "#ffffff", 0.35),
        )
        c.rect((46, 300, 594, 372), f["tint"])
        {"lighthouse": _lighthouse, "bridge": _bridge, "tower": _tower}[f["view"]](c)
    c.rect((62, 324, 62 + c.measure(f["landmark"], 24) + 30, 362), "#ffffff", 4)
    c.text(76, 330, f["landmark"], 24, mix(f["tint"], "#000000", 0.5), bold=True)
    c.handwriting(66, 406, f["words"][0], 22)
    c.handwriting(66, 438, f["words"][1], 22)


def _lighthouse(c: Canvas) -> None:
    c.polygon([(240, 330), (430, 330), (400, 290), (270, 290)], "#6d6455")
    c.polygon([(306, 300), (364, 300), (352, 130), (318, 130)], "#fbfaf6")
    for y in (150, 200, 250):
        inset = (300 - y) / 170 * 12
        c.polygon(
            [(306 + inset, y + 26), (364 - inset, y + 26), (362 - inset, y), (308 + inset, y)],
            "#c0392b",
        )
    c.rect((310, 118, 360, 132), "#3a3f46")
    c.rect((320, 94, 350, 118), "#ffe9a0", 2, "#3a3f46", 2)
    c.polygon([(314, 96), (356, 96), (335, 72)], "#c0392b")


def _bridge(c: Canvas) -> None:
    stone = "#a58f74"
    c.rect((46, 244, 594, 268), stone)
    for x in range(80, 594, 128):
        c.rect((x - 12, 244, x + 12, 352), stone)
        c.pie((x + 8, 262, x + 120, 380), 180, 360, mix(stone, "#000000", 0.25))
    for x in range(52, 594, 18):
        c.rect((x, 234, x + 9, 246), stone)
    c.rect((296, 150, 352, 250), stone)
    c.polygon([(286, 152), (362, 152), (324, 100)], "#7c4a3a")
    c.rect((316, 178, 332, 204), INK, 8)


def _tower(c: Canvas) -> None:
    stone = "#c9b28d"
    c.rect((270, 150, 370, 340), stone)
    c.rect((258, 132, 382, 156), mix(stone, "#000000", 0.15))
    c.polygon([(262, 134), (378, 134), (320, 62)], "#3f6d63")
    c.disc(320, 200, 30, "#fdfaf0")
    c.line([(320, 200), (320, 180)], INK, 3)
    c.line([(320, 200), (336, 208)], INK, 3)
    c.rect((298, 280, 342, 340), "#5a4632", 20)
    for x in (160, 420):
        c.rect((x, 270, x + 80, 340), mix(stone, "#7a4b3a", 0.4))
        c.polygon([(x - 8, 272), (x + 88, 272), (x + 40, 232)], "#8a4a38")
