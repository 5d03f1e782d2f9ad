"""Draw screens: chat windows, e-mails, profiles of an online club."""

from __future__ import annotations

from spy_plugin.embedded.mini.canvas import Canvas, mix
from spy_plugin.embedded.mini.figures import Fields, labelled, portrait


def chat(c: Canvas, f: Fields) -> None:
    """Draw a chat on a phone before a blurred background."""
    tint = f["tint"]
    c.gradient((0, 0, 640, 480), mix(tint, "#ffffff", 0.7), mix(tint, "#000000", 0.35))
    for _ in range(12):
        x, y, r = c.rng.uniform(0, 640), c.rng.uniform(0, 480), c.rng.uniform(20, 70)
        c.disc(x, y, r, mix(tint, "#ffffff", c.rng.uniform(0.15, 0.5)))
    c.shadow((132, 4, 508, 476), 30, 0.5)
    c.rect((132, 4, 508, 476), "#1c1f24", 30)
    box = (142, 14, 498, 466)
    with c.inside(box, 22):
        c.rect(box, "#eef1f4")
        c.rect((142, 14, 498, 84), tint)
        c.rect((142, 420, 498, 466), "#ffffff")
    c.text(160, 19, f["clock"], 11, "#ffffff")
    c.rect((458, 21, 480, 31), None, 2, "#ffffff", 1)
    c.rect((460, 23, 474, 29), "#ffffff")
    portrait(c, (158, 38, 196, 80), f)
    c.text(208, 40, f["name"], 18, "#ffffff", bold=True, width=200)
    c.text(208, 62, f"@{f['user']}", 14, mix(tint, "#ffffff", 0.85))
    y = 98.0
    for sender, words in f["messages"]:
        lines = c.wrap(words, 17, 232)
        width = max(c.measure(line, 17) for line in lines) + 24
        height = len(lines) * 22 + 14
        mine = sender == "me"
        x = 486 - width if mine else 154
        c.rect((x, y, x + width, y + height), mix(tint, "#ffffff", 0.68) if mine else "#ffffff", 12)
        for i, line in enumerate(lines):
            c.text(x + 12, y + 8 + i * 22, line, 17)
        y += height + 9
    c.rect((156, 428, 444, 456), "#eef1f4", 14)
    c.text(170, 435, "Message", 13, "#8a919b")
    c.disc(470, 442, 15, tint)
    c.polygon([(465, 434), (479, 442), (465, 450)], "#ffffff")


def mail(c: Canvas, f: Fields) -> None:
    """Draw an e-mail in a mail program."""
    tint = f["tint"]
    c.gradient((0, 0, 640, 480), mix(tint, "#ffffff", 0.35), mix(tint, "#000000", 0.3))
    box = (20, 22, 620, 458)
    c.shadow(box, 10, 0.5)
    with c.inside(box, 10):
        c.rect(box, "#ffffff")
        c.rect((20, 22, 620, 58), "#e6e9ee")
        c.rect((20, 58, 158, 458), "#f3f5f8")
    for x, colour in ((40, "#ee6a5f"), (60, "#f5bd4f"), (80, "#61c454")):
        c.disc(x, 40, 6, colour)
    c.text(320, 32, f["program"], 14, "#5c6570", anchor="ma")
    c.rect((32, 72, 146, 100), tint, 14)
    c.text(89, 79, "Write", 14, "#ffffff", anchor="ma", bold=True)
    for i, (words, count) in enumerate(
        (("Inbox", f["unread"]), ("Starred", ""), ("Sent", ""), ("Drafts", "2"), ("Archive", ""))
    ):
        y = 114.0 + i * 30
        if i == 0:
            c.rect((26, y - 4, 152, y + 22), mix(tint, "#ffffff", 0.75), 6)
        c.text(40, y, words, 14, bold=i == 0)
        c.text(142, y, str(count), 13, "#5c6570", anchor="ra")
    c.text(176, 72, f["subject"], 23, bold=True, width=428)
    c.disc(194, 126, 18, tint)
    c.text(194, 126, f["first"][0], 19, "#ffffff", anchor="mm", bold=True)
    c.text(222, 107, f["name"], 16, bold=True)
    c.text(222, 129, f["email"], 16, "#3c4a63", width=260)
    c.text(604, 109, f["when"], 12, "#5c6570", anchor="ra")
    c.line([(176, 158), (604, 158)], "#dfe3e8", 1)
    y = 172.0
    for part in f["body"]:
        y = c.paragraph(176, y, part, 424, 17, leading=1.4) + 9
    for i, words in enumerate(("Reply", "Forward")):
        x = 176 + i * 104
        c.rect((x, 418, x + 92, 444), "#ffffff", 13, "#b9c0c9", 1)
        c.text(x + 46, 424, words, 13, "#4a4f58", anchor="ma")


def profile(c: Canvas, f: Fields) -> None:
    """Draw the profile page of an online club."""
    tint = f["tint"]
    c.rect((0, 0, 640, 480), "#eceff3")
    c.rect((0, 0, 640, 34), "#ffffff")
    c.rect((120, 7, 520, 27), "#eceff3", 10)
    c.text(320, 9, f["address"], 12, "#6a7380", anchor="ma")
    c.gradient((0, 34, 640, 150), mix(tint, "#ffffff", 0.3), mix(tint, "#000000", 0.2))
    for i in range(7):
        c.ellipse(
            (i * 110 - 60, 70 - i % 3 * 18, i * 110 + 120, 240),
            mix(tint, "#ffffff", 0.14 + 0.05 * (i % 3)),
        )
    c.rect((24, 132, 616, 462), "#ffffff", 10)
    c.rect((44, 92, 184, 242), "#ffffff", 10)
    portrait(c, (50, 98, 178, 236), f)
    c.text(204, 148, f["name"], 28, bold=True)
    c.text(204, 184, f"@{f['user']}", 19, tint)
    c.text(204, 212, f"Member since {f['since']}", 14, "#6a7380")
    c.rect((484, 154, 596, 186), tint, 16)
    c.text(540, 162, "Follow", 15, "#ffffff", bold=True, anchor="ma")
    c.line([(44, 256), (596, 256)], "#e3e7ec", 1)
    for i, (label, value) in enumerate(f["facts"]):
        labelled(
            c, 48 + (i % 2) * 282, 270 + (i // 2) * 54, label.upper(), value, size=19, width=266
        )
    c.rect((44, 384, 596, 446), mix(tint, "#ffffff", 0.9), 8)
    c.paragraph(58, 393, f["post"], 524, 17, leading=1.35)
