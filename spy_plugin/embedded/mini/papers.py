"""Draw papers: mail, receipts, tickets, prescriptions, forms, calendars, posters."""

from __future__ import annotations

import math

from spy_plugin.embedded.mini.canvas import INK, Canvas, mix
from spy_plugin.embedded.mini.figures import (
    Fields,
    barcode,
    crest,
    labelled,
    matrix_code,
    signature,
    stamp,
    star,
)


def envelope(c: Canvas, f: Fields) -> None:
    """Draw a stamped and cancelled envelope: addressee in the middle, sender in the corner."""
    c.desk(f["desk"])
    c.sheet((34, 60, 606, 420), f["paper"], 4)
    c.polygon([(34, 62), (606, 62), (320, 92)], mix(f["paper"], "#000000", 0.04))
    sender = f["sender"]
    for i, words in enumerate((sender["name"], sender["street"], sender["town"])):
        c.text(60, 98 + i * 21, words, 14, "#4a4f58")
    c.line([(60, 164), (226, 164)], "#9aa0a8", 0.8)
    _postage(c, 500, 92, f)
    for i, words in enumerate((f["name"], f["street"], f["town"], f["country"].upper())):
        c.handwriting(230, 246 + i * 38, words, 26)
    for i in range(5):
        points = [(374 + x * 3.5, 112 + i * 13 + 4 * math.sin(x / 3)) for x in range(36)]
        c.line(points, "#6d7480", 1.3)
    c.ellipse((292, 88, 372, 168), line="#6d7480", width=1.6)
    c.text(332, 112, f["postmark"][0], 11, "#59606c", anchor="ma", bold=True, width=62)
    c.text(332, 130, f["postmark"][1], 11, "#59606c", anchor="ma")
    barcode(c, (390, 382, 586, 404), "#c0673a")


def _postage(c: Canvas, x: float, y: float, f: Fields) -> None:
    tint = f["tint"]
    c.rect((x, y, x + 80, y + 92), "#ffffff")
    for i in range(10):
        for edge in (x, x + 80):
            c.disc(edge, y + 4 + i * 9.3, 2.6, f["paper"])
    c.gradient((x + 7, y + 7, x + 73, y + 85), mix(tint, "#ffffff", 0.5), tint)
    c.polygon(
        [(x + 7, y + 70), (x + 28, y + 40), (x + 44, y + 58), (x + 56, y + 46), (x + 73, y + 70)],
        mix(tint, "#000000", 0.35),
    )
    c.disc(x + 55, y + 26, 8, "#fff3c9")
    c.text(x + 40, y + 71, f["postage"], 12, "#ffffff", anchor="ma", bold=True)


def letter(c: Canvas, f: Fields) -> None:
    """Draw an official letter with letterhead, reference, stamp and signature."""
    tint = f["tint"]
    c.desk(f["desk"])
    c.sheet((70, 14, 570, 466))
    crest(c, 112, 56, 44, tint)
    c.text(144, 36, f["office"], 22, tint, bold=True, width=400)
    c.text(144, 64, f["office_line"], 12, "#6a7380", width=400)
    c.line([(92, 90), (548, 90)], tint, 1.4)
    c.text(92, 104, f["name"], 15)
    c.text(92, 124, f["street"], 15)
    c.text(92, 144, f["town"], 15)
    c.text(548, 104, f["date"], 15, anchor="ra")
    c.text(548, 126, f"Case {f['case']}", 14, "#4a4f58", anchor="ra")
    c.text(92, 184, f["subject"], 19, bold=True, width=450)
    y = c.paragraph(92, 218, f["body"], 452, 17, leading=1.42)
    c.text(92, max(y + 8, 352), "Yours faithfully,", 15)
    stamp(c, 486, 406, 38, mix(tint, "#ffffff", 0.25))
    signature(c, 96, 404, f["clerk"], 22)
    c.text(92, 428, f"{f['clerk']}, {f['clerk_role']}", 13, "#4a4f58")


def receipt(c: Canvas, f: Fields) -> None:
    """Draw a till receipt with a torn edge."""
    c.desk(f["desk"])
    left, right, top = 178, 462, 12
    c.sheet((left, top, right, 462), "#fefefc", 0)
    for i in range(24):
        x = left + i * 12
        c.polygon([(x, 463), (x + 6, 455), (x + 12, 463)], mix(f["desk"], "#000000", 0.3))
    middle = (left + right) / 2
    c.text(middle, 26, f["shop"].upper(), 23, anchor="ma", bold=True, width=260)
    c.text(middle, 56, f["place"], 13, "#4a4f58", anchor="ma")
    c.text(middle, 78, f"{f['date']} {f['time']}", 16, anchor="ma")
    c.dashes((left + 14, 104), (right - 14, 104), "#555a63", 1)
    y = 114.0
    for words, price in f["lines"]:
        c.text(left + 18, y, words, 16)
        c.text(right - 18, y, price, 16, anchor="ra")
        y += 25
    c.dashes((left + 14, 244), (right - 14, 244), "#555a63", 1)
    c.text(left + 18, 254, "TOTAL", 24, bold=True)
    c.text(right - 18, 254, f["total"], 24, bold=True, anchor="ra")
    c.text(left + 18, 292, "Paid by card", 14, "#4a4f58")
    c.text(right - 18, 292, f["card"], 15, anchor="ra")
    c.text(left + 18, 316, "Customer", 14, "#4a4f58")
    c.text(right - 18, 316, f["name"], 15, anchor="ra")
    c.dashes((left + 14, 344), (right - 14, 344), "#555a63", 1)
    barcode(c, (left + 36, 358, right - 36, 408))
    c.text(middle, 420, "Thank you, see you soon!", 14, "#4a4f58", anchor="ma")


def ticket(c: Canvas, f: Fields) -> None:
    """Draw a boarding pass or train ticket with a stub."""
    tint = f["tint"]
    c.desk(f["desk"])
    box = (24, 96, 616, 384)
    c.sheet(box, "#ffffff", 14)
    with c.inside(box, 14):
        c.rect((24, 96, 616, 150), tint)
    c.text(46, 110, f["carrier"], 24, "#ffffff", bold=True, width=260)
    c.text(440, 116, f["pass"], 15, "#ffffff", anchor="ra")
    c.text(478, 113, f["short"], 19, "#ffffff", bold=True, width=126)
    c.dashes((458, 154), (458, 380), "#a9afb8", 1.4)
    for y in (96, 384):
        c.disc(458, y, 11, mix(f["desk"], "#000000", 0.12))
    labelled(c, 46, 164, "PASSENGER", f["name"], size=22, width=240)
    labelled(c, 300, 164, f["line_label"], f["line"], size=22, width=140)
    start = c.text(46, 226, f["from"], 29, tint, bold=True, width=160)[2] + 14
    end = c.text(436, 226, f["to"], 29, tint, bold=True, anchor="ra", width=160)[0] - 14
    c.line([(start, 244), (end - 12, 244)], tint, 2)
    c.polygon([(end, 244), (end - 16, 236), (end - 16, 252)], tint)
    cells = (
        ("DATE", f["date"], 46, 150),
        ("DEPARTS", f["time"], 210, 80),
        (f["gate_label"], f["gate"], 296, 60),
        ("SEAT", f["seat"], 366, 70),
    )
    for label, value, x, width in cells:
        labelled(c, x, 280, label, value, size=22, width=width)
    barcode(c, (46, 338, 436, 370))
    labelled(c, 478, 164, "NAME", f["name"], size=16, width=124)
    labelled(c, 478, 208, "SEAT", f["seat"], size=28, width=70)
    labelled(c, 550, 208, f["gate_label"], f["gate"], size=24, width=54)
    matrix_code(c, 500, 276, 84)


def medicine(c: Canvas, f: Fields) -> None:
    """Draw a pill bottle with a pharmacy label."""
    tint = f["tint"]
    c.gradient((0, 0, 640, 330), mix(f["desk"], "#ffffff", 0.62), mix(f["desk"], "#ffffff", 0.4))
    c.gradient((0, 330, 640, 480), mix(f["desk"], "#ffffff", 0.18), mix(f["desk"], "#000000", 0.08))
    c.shadow((126, 428, 514, 450), 14, 0.45)
    bottle = (136, 66, 504, 446)
    with c.inside(bottle, 34):
        c.gradient(bottle, "#f0a24a", "#c66a1c")
        c.rect((142, 66, 168, 446), "#f8c98d")
        c.rect((470, 66, 504, 446), "#b65c14")
    c.rect((116, 22, 524, 92), "#f4f4f2", 10, "#d2d2ce", 1)
    for x in range(126, 520, 13):
        c.line([(x, 28), (x, 86)], "#d9d9d5", 1.6)
    label = (150, 122, 490, 424)
    c.rect(label, "#fffefa", 4)
    c.rect((150, 122, 490, 164), tint, 4)
    c.rect((166, 138, 186, 146), "#ffffff")
    c.rect((172, 132, 180, 152), "#ffffff")
    c.text(198, 130, f["pharmacy"], 22, "#ffffff", bold=True, width=280)
    c.text(166, 174, f["name"].upper(), 21, bold=True, width=310)
    c.text(166, 201, f"Filled {f['date']}", 13, "#5c6570")
    c.text(474, 201, f"Rx {f['rx']}", 13, "#5c6570", anchor="ra")
    c.line([(166, 222), (474, 222)], tint, 1.2)
    c.text(166, 230, f["drug"], 27, mix(tint, "#000000", 0.3), bold=True, width=310)
    y = c.paragraph(166, 270, f["dose"], 308, 18, leading=1.35)
    c.text(166, max(y + 4, 326), f"Prescriber: {f['doctor']}", 13, "#5c6570")
    barcode(c, (166, 352, 330, 380))
    c.rect((344, 348, 476, 384), "#f7d64a", 3)
    c.text(410, 357, f["warning"], 13, anchor="ma", bold=True, width=124)
    c.text(166, 394, f"Refills left: {f['refills']}", 13, "#5c6570")
    c.text(474, 394, f["phone"], 13, "#5c6570", anchor="ra")
    for x, y, angle in ((566, 440, 0.4), (594, 418, -0.6), (60, 446, 0.2)):
        dx, dy = 12 * math.cos(angle), 12 * math.sin(angle)
        c.line([(x - dx, y - dy), (x, y)], "#e8e8ea", 11)
        c.line([(x, y), (x + dx, y + dy)], tint, 11)
        c.disc(x - dx, y - dy, 5.4, "#e8e8ea")
        c.disc(x + dx, y + dy, 5.4, tint)


def form(c: Canvas, f: Fields) -> None:
    """Draw a printed form that is filled in by hand and signed."""
    tint = f["tint"]
    c.desk(f["desk"])
    c.sheet((62, 12, 578, 468))
    c.rect((62, 12, 578, 70), tint, 2)
    c.text(84, 20, f["title"], 23, "#ffffff", bold=True, width=400)
    c.text(84, 49, f["office"], 12, mix(tint, "#ffffff", 0.8), width=400)
    c.text(558, 34, f["form_no"], 13, "#ffffff", anchor="ra")
    for i, (label, key) in enumerate(f["rows"]):
        y = 92 + i * 50
        c.rect((84, y, 556, y + 42), mix(tint, "#ffffff", 0.93), 2, mix(tint, "#ffffff", 0.55), 0.8)
        c.text(92, y + 4, label, 11, "#5c6570")
        c.handwriting(206, y + 31, f[key], 23)
    y = 104 + len(f["rows"]) * 50
    c.text(84, y, "I declare that the above is true.", 13, "#4a4f58")
    signature(c, 100, 424, f["name"], 25)
    c.line([(84, 440), (330, 440)], INK, 0.8)
    c.text(84, 445, "Signature", 11, "#5c6570")
    c.handwriting(430, 430, f["date"], 17)
    c.line([(420, 440), (556, 440)], INK, 0.8)
    c.text(420, 445, "Date", 11, "#5c6570")


def calendar(c: Canvas, f: Fields) -> None:
    """Draw a wall calendar of a month with a few entries."""
    tint = f["tint"]
    c.gradient((0, 0, 640, 480), mix(f["desk"], "#ffffff", 0.5), mix(f["desk"], "#ffffff", 0.25))
    c.sheet((24, 20, 616, 466), "#ffffff", 6)
    c.rect((24, 20, 616, 84), tint, 6)
    for x in range(60, 600, 40):
        c.disc(x, 30, 4.5, mix(tint, "#000000", 0.4))
        c.line([(x, 10), (x, 30)], "#b9bec5", 3)
    c.text(320, 42, f["month"], 30, "#ffffff", bold=True, anchor="ma")
    left, top, w, h = 38, 112, 80.6, 68
    for i, day in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")):
        c.text(left + w * (i + 0.5), 91, day, 14, tint, anchor="ma", bold=True)
    for i in range(f["days"]):
        row, column = divmod(i + f["first_day"], 7)
        x, y = left + column * w, top + row * h
        entry = f["entries"].get(i + 1)
        weekend = "#f5f3ee" if column > 4 else "#ffffff"
        c.rect(
            (x, y, x + w, y + h),
            mix(tint, "#ffffff", 0.72) if entry else weekend,
            0,
            "#d4d8dd",
            0.8,
        )
        c.text(x + 5, y + 4, str(i + 1), 13, "#5c6570", bold=bool(entry))
        if entry:
            size = 14.0
            while max(c.measure(word, size) for word in entry.split()) > w - 8 and size > 10:
                size -= 0.5
            for j, line in enumerate(c.wrap(entry, size, w - 8)):
                c.text(x + 5, y + 20 + j * (size - 0.5), line, size, mix(tint, "#000000", 0.55))


def poster(c: Canvas, f: Fields) -> None:
    """Draw a political poster on a brick wall, with the names of supporters."""
    tint, other = f["tint"], f["other"]
    c.rect((0, 0, 640, 480), "#9a5f4b")
    for row in range(20):
        for column in range(-1, 10):
            x, y = column * 68 + (34 if row % 2 else 0), row * 25
            c.rect(
                (x, y, x + 65, y + 22),
                mix("#a8664f", c.rng.choice(("#000000", "#ffffff")), c.rng.uniform(0, 0.12)),
                1,
            )
    box = (120, 18, 520, 462)
    c.sheet(box, "#fbf7ec", 2)
    with c.inside(box):
        for i in range(0, 24):
            a, b = math.radians(i * 15), math.radians(i * 15 + 7.5)
            c.polygon(
                [
                    (320, 190),
                    (320 + 460 * math.cos(a), 190 + 460 * math.sin(a)),
                    (320 + 460 * math.cos(b), 190 + 460 * math.sin(b)),
                ],
                mix(other, "#ffffff", 0.62),
            )
        c.rect((120, 330, 520, 462), tint)
        c.rect((120, 322, 520, 330), other)
    star(c, 320, 92, 54, tint)
    c.text(
        320, 158, f["slogan"][0], 48, mix(tint, "#000000", 0.2), bold=True, anchor="ma", width=370
    )
    c.text(
        320, 222, f["slogan"][1], 40, mix(tint, "#000000", 0.2), bold=True, anchor="ma", width=370
    )
    c.text(320, 284, f["line"], 19, anchor="ma", width=370, bold=True)
    c.text(
        320, 346, "This poster hangs in the window of", 14, mix(tint, "#ffffff", 0.8), anchor="ma"
    )
    c.text(320, 368, f["name"], 28, "#ffffff", bold=True, anchor="ma", width=360)
    c.text(
        320, 414, f"{f['party']}, polling day {f['date']}", 16, "#ffffff", anchor="ma", width=370
    )
    for x, y in ((130, 28), (510, 28), (130, 452), (510, 452)):
        c.disc(x, y, 4, "#c7ccd1")
