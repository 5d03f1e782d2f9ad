"""Draw cards and booklets that identify a person."""

from __future__ import annotations

from spy_plugin.embedded.mini.canvas import Canvas, mix
from spy_plugin.embedded.mini.figures import (
    Fields,
    barcode,
    crest,
    grid,
    guilloche,
    labelled,
    matrix_code,
    portrait,
    signature,
    stamp,
)

_CARD = (40.0, 66.0, 600.0, 414.0)


def id_card(c: Canvas, f: Fields) -> None:
    """Draw a national identity card."""
    tint = f["tint"]
    c.desk(f["desk"])
    c.sheet(_CARD, mix(tint, "#ffffff", 0.88), 18)
    guilloche(c, (44, 130, 596, 400), mix(tint, "#ffffff", 0.7))
    with c.inside(_CARD, 18):
        c.rect((40, 66, 600, 122), tint)
    crest(c, 78, 94, 40, "#ffffff", tint)
    c.text(110, 76, f"{f['state']} {f['country']}".upper(), 19, "#ffffff", bold=True)
    c.text(110, 100, "NATIONAL IDENTITY CARD", 12, mix(tint, "#ffffff", 0.75))
    portrait(c, (64, 142, 204, 322), f, mix(tint, "#ffffff", 0.65))
    dark = mix(tint, "#000000", 0.25)
    grid(
        c,
        228,
        142,
        [
            [("SURNAME", f["last"].upper()), ("GIVEN NAME", f["first"].upper())],
            [("DATE OF BIRTH", f["born"]), ("SEX", f["sex"])],
            [("PLACE OF BIRTH", f["city"].upper()), ("NATIONALITY", f["nationality"].upper())],
            [("VALID UNTIL", f["until"]), ("HEIGHT", f["height"])],
        ],
        column=176,
        row=45,
        tint=dark,
    )
    labelled(c, 64, 338, "IDENTITY NUMBER", f["number"], size=24, width=300, tint=dark, gap=15)
    signature(c, 404, 366, f["name"], 17)
    c.line([(400, 378), (576, 378)], dark, 0.7)
    c.text(400, 382, "SIGNATURE OF HOLDER", 9, dark)


def passport(c: Canvas, f: Fields) -> None:
    """Draw the data page of a passport, with its machine-readable lines."""
    tint = f["tint"]
    c.desk(f["desk"])
    page = (28, 24, 612, 456)
    c.shadow(page, 12)
    c.rect((22, 20, 618, 460), mix(tint, "#000000", 0.35), 14)
    c.rect(page, mix(tint, "#ffffff", 0.91), 8)
    guilloche(c, (32, 80, 608, 360), mix(tint, "#ffffff", 0.74), 15)
    crest(c, 68, 60, 46, tint)
    c.text(
        104, 36, f"{f['state']} {f['country']}".upper(), 21, mix(tint, "#000000", 0.3), bold=True
    )
    c.text(104, 66, "PASSPORT", 13, tint, bold=True)
    portrait(c, (50, 106, 204, 306), f, mix(tint, "#ffffff", 0.6))
    dark = mix(tint, "#000000", 0.2)
    grid(
        c,
        228,
        100,
        [
            [("TYPE", "P"), ("CODE", f["code"]), ("PASSPORT NO.", f["number"])],
            [("SURNAME", f["last"].upper())],
            [("GIVEN NAMES", f["first"].upper())],
            [("NATIONALITY", f["nationality"].upper()), ("SEX", f["sex"])],
            [("DATE OF BIRTH", f["born"]), ("PLACE OF BIRTH", f["city"].upper())],
            [("DATE OF ISSUE", f["issued"]), ("DATE OF EXPIRY", f["until"])],
        ],
        column=122,
        row=44,
        size=18,
        tint=dark,
    )
    signature(c, 62, 340, f["name"], 17)
    c.rect((28, 376, 612, 448), "#f7f8f7")
    lines = (f"P<{f['code']}{f['last']}<<{f['first']}", f"{f['number']}<{f['code']}")
    for i, line in enumerate(lines):
        c.spaced(44, 387 + i * 28, line.upper().ljust(38, "<"), 17, 14.5)


def licence(c: Canvas, f: Fields) -> None:
    """Draw a driving licence."""
    tint = f["tint"]
    c.desk(f["desk"])
    c.sheet(_CARD, "#f6f4ee", 18)
    with c.inside(_CARD, 18):
        c.gradient((40, 66, 600, 240), mix(tint, "#ffffff", 0.62), "#f6f4ee")
        c.rect((40, 66, 600, 116), tint)
        c.rect((40, 116, 600, 120), mix(tint, "#f2c14e", 0.8))
    guilloche(c, (230, 130, 590, 330), mix(tint, "#ffffff", 0.78), 8)
    c.text(62, 78, "DRIVING LICENCE", 24, "#ffffff", bold=True)
    c.text(580, 82, f["country"].upper(), 18, "#ffffff", bold=True, anchor="ra")
    portrait(c, (62, 136, 206, 322), f, mix(tint, "#ffffff", 0.7))
    grid(
        c,
        230,
        134,
        [
            [("1. LICENCE NO.", f["number"])],
            [("2. NAME", f["name"].upper())],
            [("3. HOME ADDRESS", f"{f['street']}, {f['town']}")],
            [("4. BORN", f["born"]), ("5. EYES", f["eyes"].upper()), ("6. HEIGHT", f["height"])],
            [("7. ISSUED", f["issued"]), ("8. EXPIRES", f["until"]), ("9. CLASS", f["class"])],
        ],
        column=118,
        row=46,
        size=18,
        tint=mix(tint, "#000000", 0.2),
    )
    signature(c, 72, 354, f["name"], 17)
    barcode(c, (230, 374, 580, 402))


def student_card(c: Canvas, f: Fields) -> None:
    """Draw the student card of a college."""
    tint = f["tint"]
    c.desk(f["desk"])
    c.sheet(_CARD, "#ffffff", 18)
    with c.inside(_CARD, 18):
        c.rect((40, 66, 240, 414), tint)
        c.polygon([(40, 300), (240, 240), (240, 414), (40, 414)], mix(tint, "#000000", 0.2))
    portrait(c, (68, 96, 212, 276), f)
    c.text(140, 306, "STUDENT", 26, "#ffffff", bold=True, anchor="ma")
    c.text(140, 344, f"valid until {f['until']}", 13, "#ffffff", anchor="ma")
    crest(c, 288, 116, 52, tint)
    c.paragraph(326, 96, f["college"], 262, 21, mix(tint, "#000000", 0.3), bold=True, leading=1.2)
    c.line([(264, 158), (576, 158)], tint, 1.5)
    grid(
        c,
        264,
        172,
        [
            [("NAME", f["name"])],
            [("COURSE", f["course"])],
            [("STUDENT NUMBER", f["number"])],
        ],
        column=312,
        row=54,
        size=23,
        tint=tint,
    )
    barcode(c, (264, 348, 574, 388))


def payment_card(c: Canvas, f: Fields) -> None:
    """Draw a payment card with a chip."""
    tint = f["tint"]
    c.desk(f["desk"])
    box = (60, 74, 580, 406)
    c.shadow(box, 24, 0.5)
    with c.inside(box, 24):
        c.gradient(box, mix(tint, "#ffffff", 0.2), mix(tint, "#000000", 0.35))
        for i in range(5):
            c.ellipse(
                (330 + i * 34, -60 + i * 30, 760 + i * 34, 370 + i * 30),
                line=mix(tint, "#ffffff", 0.3),
                width=0.8,
            )
    c.text(92, 100, f["bank"], 26, "#ffffff", bold=True)
    c.text(548, 106, f["kind"], 18, "#ffffff", anchor="ra")
    c.rect((92, 168, 156, 214), "#e2c377", 7)
    for y in (180, 191, 202):
        c.line([(92, y), (114, y)], "#8f7434", 1)
        c.line([(134, y), (156, y)], "#8f7434", 1)
    c.rect((114, 168, 134, 214), None, 4, "#8f7434", 1)
    for i in range(3):
        r = 12 + i * 9
        c.arc((168 - r, 191 - r, 168 + r, 191 + r), -40, 40, "#ffffff", 2.4)
    c.spaced(88, 244, f["number"], 31, 24.4, "#ffffff")
    c.text(330, 302, "VALID THRU", 9, "#e8edf2")
    c.text(330, 314, f["until"], 22, "#ffffff")
    c.text(92, 358, f["name"].upper(), 23, "#ffffff", width=330)
    for x, colour in ((498, "#f2f2f2"), (526, mix(tint, "#f2c14e", 0.8))):
        c.disc(x, 364, 22, colour)


def badge(c: Canvas, f: Fields) -> None:
    """Draw the name badge of a conference, on a lanyard."""
    tint = f["tint"]
    c.gradient((0, 0, 640, 480), mix(f["desk"], "#ffffff", 0.25), mix(f["desk"], "#000000", 0.2))
    c.line([(250, -10), (318, 76)], mix(tint, "#000000", 0.3), 15)
    c.line([(390, -10), (322, 76)], tint, 15)
    box = (160, 84, 480, 462)
    c.sheet(box, "#ffffff", 16)
    with c.inside(box, 16):
        c.rect((160, 84, 480, 186), tint)
        c.rect((160, 412, 480, 462), mix(tint, "#000000", 0.25))
    c.rect((290, 66, 350, 100), "#c7ccd1", 6)
    c.rect((298, 90, 342, 98), mix(tint, "#000000", 0.5), 4)
    c.text(320, 114, f["event"], 22, "#ffffff", bold=True, anchor="ma", width=290)
    c.text(320, 148, f["day"], 14, "#ffffff", anchor="ma", width=290)
    c.text(320, 202, "HELLO, I AM", 12, "#6a7380", anchor="ma")
    c.text(320, 222, f["first"], 58, mix(tint, "#000000", 0.35), bold=True, anchor="ma", width=290)
    c.text(320, 296, f["job"], 22, anchor="ma", width=290)
    c.text(320, 326, f["company"], 16, "#5c6570", anchor="ma", width=290)
    matrix_code(c, 293, 352, 54)
    c.text(320, 426, f["role"], 18, "#ffffff", bold=True, anchor="ma")


def certificate(c: Canvas, f: Fields) -> None:
    """Draw a certificate or diploma with a seal."""
    tint = f["tint"]
    c.desk(f["desk"])
    c.sheet((30, 24, 610, 456), "#fdf8ea")
    for inset, width in ((42, 3.0), (50, 1.0)):
        c.rect((inset, inset - 6, 640 - inset, 486 - inset), None, 0, tint, width)
    for x in (50, 590):
        for y in (44, 436):
            c.disc(x, y, 9, tint)
            c.disc(x, y, 5, "#fdf8ea")
    crest(c, 320, 82, 50, tint)
    c.text(
        320,
        114,
        f["school"].upper(),
        19,
        mix(tint, "#000000", 0.2),
        bold=True,
        anchor="ma",
        width=500,
    )
    c.text(320, 146, f["title"], 36, anchor="ma", bold=True, width=500)
    c.text(320, 200, f["lead"], 15, "#5c5a50", anchor="ma")
    c.text(320, 224, f["name"], 34, tint, anchor="ma", bold=True)
    c.line([(150, 270), (490, 270)], tint, 1)
    c.text(320, 280, f["reason"], 15, "#5c5a50", anchor="ma", width=500)
    c.text(320, 304, f["award"], 25, anchor="ma", bold=True, width=510)
    for x, words, caption in ((96, f["date"], "Date"), (404, f["head"], f["office"])):
        if caption == "Date":
            c.text(x + 70, 372, words, 17, anchor="ma")
        else:
            signature(c, x + 2, 386, words, 19)
        c.line([(x, 400), (x + 140, 400)], "#5c5a50", 0.8)
        c.text(x + 70, 405, caption, 11, "#5c5a50", anchor="ma")
    for dx in (-12, 12):
        c.polygon(
            [
                (320 + dx - 9, 380),
                (320 + dx + 9, 380),
                (320 + dx * 1.7 + 9, 432),
                (320 + dx * 1.7, 424),
                (320 + dx * 1.7 - 9, 432),
            ],
            mix(tint, "#000000", 0.2),
        )
    c.disc(320, 374, 32, mix(tint, "#f2c14e", 0.75))
    stamp(c, 320, 374, 29, mix(tint, "#000000", 0.15))
