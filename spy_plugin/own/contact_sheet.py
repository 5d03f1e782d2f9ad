"""One picture of all pictures of a benchmark, each with the ids and labels of its items."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from spy_plugin.benchmark.loading import below_the_root
from spy_plugin.benchmark.own_rows import FormRow
from spy_plugin.data.pictures import DECODING_ERRORS, open_rgb, picture_file
from spy_plugin.errors import DataError
from spy_plugin.files.writing import replacing

_NAME = "contact_sheet"
_MARK = b"spy-bench contact sheet"
"""The comment in the JPEG of every sheet: a picture of the user's has another one, or none."""
MOST = 240
"""Pictures on a sheet; of more, the first ones are shown."""
_COLUMNS, _WIDTH, _HEIGHT, _TEXT, _GAP = 6, 200, 150, 34, 8
_PAPER, _INK, _MISSING = "#f2f3f5", "#1f2937", "#b91c1c"


def is_sheet(path: Path) -> bool:
    """Return whether a file is a sheet that was drawn here."""
    from PIL import Image

    if not re.fullmatch(rf"{_NAME}(_\d+)?\.jpg", path.name):
        return False
    try:
        with Image.open(path) as opened:
            return bool(opened.info.get("comment") == _MARK)
    except (OSError, *DECODING_ERRORS, Image.DecompressionBombError):
        return False


def sheet_file(folder: Path) -> Path:
    """Return where to draw a sheet: a new file or an earlier sheet, never a file of the user's."""
    names = itertools.chain([_NAME], (f"{_NAME}_{number}" for number in itertools.count(2)))
    paths = (folder / f"{name}.jpg" for name in names)
    return next(p for p in paths if not (p.exists() or p.is_symlink()) or is_sheet(p))


def draw_contact_sheet(image_root: Path, rows: Sequence[FormRow], out: Path) -> int:
    """Draw the sheet as JPEG; a picture that cannot be read, or lies elsewhere, is a red box.

    Returns:
        The number of pictures on it.
    """
    from PIL import Image, ImageDraw, ImageFont

    items: dict[str, list[FormRow]] = defaultdict(list)
    for row in rows:
        if row.picture:
            items[row.picture].append(row)
    shown = list(items.items())[:MOST]
    lines = -(-max(1, len(shown)) // _COLUMNS)
    cell = (_WIDTH + _GAP, _HEIGHT + _TEXT + _GAP)
    sheet = Image.new("RGB", (_COLUMNS * cell[0] + _GAP, lines * cell[1] + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (name, asked) in enumerate(shown):
        down, across = divmod(place, _COLUMNS)
        x, y = _GAP + across * cell[0], _GAP + down * cell[1]
        try:
            file = picture_file(image_root.resolve(), below_the_root(name), where=name)
            small = open_rgb(file)
            small.thumbnail((_WIDTH, _HEIGHT))
            sheet.paste(small, (x + (_WIDTH - small.width) // 2, y))
        except (OSError, ValueError, DataError):
            draw.rectangle((x, y, x + _WIDTH, y + _HEIGHT), outline=_MISSING, width=3)
        labels = ", ".join(item.label or "(no label)" for item in asked)
        for number, text in enumerate((" ".join(item.id for item in asked), labels)):
            draw.text((x, y + _HEIGHT + 2 + 16 * number), text[:34], fill=_INK, font=font)
    with replacing(out) as temporary:
        sheet.save(temporary, format="JPEG", quality=85, comment=_MARK)
    return len(shown)
