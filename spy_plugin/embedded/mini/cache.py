"""Draw the embedded benchmark into the user's cache once, and detect damage."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from spy_plugin.data.pictures import open_rgb
from spy_plugin.embedded.mini.items import (
    IMAGE_FOLDER,
    benchmark_entry,
    build_items,
    label_words,
    scenarios,
)
from spy_plugin.embedded.mini.pictures import pictures, table
from spy_plugin.errors import DataError, SpyBenchError, system_reason
from spy_plugin.files.home import home

DATA_VERSION = 1
"""Version of the data; it changes when the drawing code changes what the pictures show."""

FINGERPRINT = "8b7273866cb639c0"
"""Result of `fingerprint` for this version (a test compares): it names the built folder, so that
finding the folder needs no reading of the tables."""

MANIFEST = "manifest.json"
_NAME = "spy-bench mini"
_LOG = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def data_files() -> dict[str, str]:
    """Return the JSON files of the data root, by name."""
    items = build_items()
    contents: dict[str, Any] = {
        "questions.json": {"benchmark_list": [benchmark_entry(item) for item in items]},
        "label2text.json": label_words(),
        "scenarios.json": scenarios(),
        "tune.json": {"data_list": items},
    }
    return {name: json.dumps(content, indent=1) + "\n" for name, content in contents.items()}


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Return 16 hex digits of the SHA-256 of the JSON files and of the pictures' rows."""
    rows = [[picture.name, picture.drawing, dict(picture.fields)] for picture in pictures()]
    words = json.dumps([data_files(), rows, table("refusals")], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def build(root: Path | None = None) -> Path:
    """Return the data root of the embedded benchmark, drawn at first use within seconds.

    It holds ``questions.json``, ``label2text.json``, ``scenarios.json``, ``tune.json``,
    ``images/mini/*.png`` and ``manifest.json``. A folder of ours that is damaged or incomplete is
    drawn again. Several processes may do this at the same time.

    Args:
        root: Folder to build; by default one in `files.home.home`, named after the data.

    Raises:
        SpyBenchError: the folder cannot be written, or `root` holds something else.
    """
    target = root or home() / f"mini-v{DATA_VERSION}-{FINGERPRINT}"
    damage = _quick_check(target)
    if not damage:
        return target
    if target.exists():
        if root is not None and any(root.iterdir()) and not _is_ours(root):
            raise DataError(
                "is not empty and was not built by spy-bench", "Choose another folder.", path=root
            )
        _LOG.warning("%s is damaged (%s); drawing it again", target, damage)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            fresh = Path(scratch) / "fresh"
            _write(fresh)
            _install(fresh, target, Path(scratch) / "old")
    except OSError as error:
        raise SpyBenchError(
            f"{target} cannot be written ({system_reason(error)}). Set SPY_BENCH_HOME to a "
            "folder with space that you may write to."
        ) from error
    return target


def _install(fresh: Path, target: Path, old: Path) -> None:
    """Move a complete folder into place; a second process keeps what the first one built."""
    for _ in range(5):
        if not _quick_check(target):
            return
        try:
            if target.exists():
                target.rename(old)
            fresh.rename(target)
            return
        except OSError:
            # Another process moved the folder between the check and the move: check again.
            if not fresh.exists():
                raise
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(f"{target} keeps changing")


def _write(folder: Path) -> None:
    """Draw and write all files, the manifest last."""
    (folder / IMAGE_FOLDER).mkdir(parents=True)
    for name, text in data_files().items():
        (folder / name).write_text(text, encoding="utf-8")
    for picture in pictures():
        image, _ = picture.draw()
        image.save(folder / IMAGE_FOLDER / f"{picture.name}.png")
    images = [f"{IMAGE_FOLDER}/{picture.name}.png" for picture in pictures()]
    names = sorted([*data_files(), *images])
    listed = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in names
    }
    manifest = {
        "benchmark": _NAME,
        "data_version": DATA_VERSION,
        "fingerprint": FINGERPRINT,
        "files": listed,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_manifest(root: Path) -> dict[str, Any] | None:
    """Return the manifest, or None if it is missing, truncated, or of other data."""
    try:
        content = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("benchmark") != _NAME:
        return None
    listed = content.get("files")
    if not isinstance(listed, dict) or not listed:
        return None
    sound = all(isinstance(e, dict) and {"bytes", "sha256"} <= e.keys() for e in listed.values())
    return content if sound else None


def _is_ours(root: Path) -> bool:
    return _read_manifest(root) is not None


def _quick_check(root: Path) -> str:
    """Return what is wrong with a built folder, judged by file sizes; empty if nothing is."""
    manifest = _read_manifest(root)
    if manifest is None:
        return f"{MANIFEST} is missing or unreadable"
    if manifest.get("fingerprint") != FINGERPRINT:
        return "it holds other data"
    for name, entry in manifest["files"].items():
        path = root / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has another size than when it was written"
    return ""


def verify(root: Path) -> None:
    """Compare every file with its SHA-256 in the manifest.

    Raises:
        DataError: names the damaged file.
    """
    remedy = "Delete the folder. It is drawn again at the next use."
    damage = _quick_check(root)
    if damage:
        raise DataError(f"is damaged: {damage}", remedy, path=root)
    manifest = _read_manifest(root) or {"files": {}}
    for name, entry in manifest["files"].items():
        if _sha256(root / name) != entry["sha256"]:
            raise DataError("was changed after it was written", remedy, path=root / name)


def contact_sheet(root: Path, out: Path, *, columns: int = 6, rows: int = 4) -> None:
    """Write a small PNG with one picture of each kind of a built folder."""
    kinds: dict[str, list[str]] = {}
    for picture in pictures():
        kinds.setdefault(picture.kind, []).append(picture.name)
    # The first picture of one kind, the second of the next, and so on, for more varied colours.
    names = [found[place % len(found)] for place, found in enumerate(kinds.values())]
    width, height, gap = 192, 144, 6
    sheet = Image.new(
        "RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "#f2f3f5"
    )
    for place, name in enumerate(names[: columns * rows]):
        full = open_rgb(root / IMAGE_FOLDER / f"{name}.png")
        small = full.resize((width, height), Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        sheet.paste(small, (gap + column * (width + gap), gap + row * (height + gap)))
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    palette = sheet.quantize(256, Image.Quantize.MEDIANCUT, kmeans=2)
    palette.save(scratch, format="PNG", optimize=True)
    scratch.replace(out)
