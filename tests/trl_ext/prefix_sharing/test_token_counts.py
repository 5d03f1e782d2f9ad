"""Tokens of rows, counted without decoding a picture."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("trl")

from spy_plugin.errors import DataError  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import paired_rows  # noqa: E402
from trl_ext.nca_priv.nca_priv_trainer import SIDES  # noqa: E402
from trl_ext.prefix_sharing import pictures, token_counts  # noqa: E402
from trl_ext.prefix_sharing.collator import PreferenceCollator  # noqa: E402
from trl_ext.prefix_sharing.encoding import SequenceEncoder  # noqa: E402
from trl_ext.prefix_sharing.tree import build_tree  # noqa: E402


def collator(family):
    return PreferenceCollator(SequenceEncoder(tiny_models.build(family)[1]), SIDES)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows whose pictures are files, one of them turned by its EXIF orientation."""
    folder = tmp_path_factory.mktemp("pictures")
    found = paired_rows(6)
    for index, row in enumerate(found):
        path = folder / f"{index // 2}.jpg"
        image = tiny_models.picture(index, 56 + 56 * (index // 2), 84)
        exif = image.getexif()
        exif[0x0112] = 6 if index // 2 == 1 else 1
        image.save(path, exif=exif)
        row["images"] = [str(path)]
    stored = datasets.Dataset.from_list(found)
    return stored.cast_column("images", datasets.List(datasets.Image()))


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_counts_are_those_of_the_real_pictures(family, rows):
    collate = collator(family)
    counted = token_counts.token_counts(rows, collate)
    for row, (shared, own, _) in zip(pictures.undecoded(rows), counted, strict=True):
        ids = collate([row])["sequences"].input_ids
        assert shared + own == len(build_tree([each[:-1] for each in ids]))
        common = [len({int(each[place]) for each in ids}) == 1 for place in range(shared)]
        assert all(common)
        assert own > 0


def test_no_picture_is_decoded(rows, monkeypatch):
    def refuse(image):
        if isinstance(image, (dict, str)):
            raise AssertionError(f"{image} was opened")
        return image

    monkeypatch.setattr(pictures, "open_picture", refuse)
    assert len(token_counts.token_counts(rows, collator("qwen2_vl"))) == 6


def test_workers_count_the_same(rows, monkeypatch):
    monkeypatch.setattr(token_counts, "COUNTED_TOGETHER", 2)
    collate = collator("qwen2_vl")
    alone = token_counts._count(pictures.undecoded(rows), list(range(6)), collate, 0)
    assert token_counts._count(pictures.undecoded(rows), list(range(6)), collate, 2) == alone


def test_known_counts_are_not_counted_again(rows, monkeypatch):
    collate = collator("qwen2_vl")
    first = token_counts.token_counts(rows, collate)
    monkeypatch.setattr(token_counts, "_count", None)
    assert token_counts.token_counts(rows.select([5, 0]), collate) == [first[5], first[0]]


def test_a_missing_picture_is_named_before_training(rows):
    broken = rows.add_column("row", list(range(6))).cast_column(
        "images", datasets.List(datasets.Image(decode=False))
    )
    broken = broken.map(lambda row: {"images": [{"path": "/none.jpg", "bytes": None}]})
    with pytest.raises(DataError, match="item-0"):
        token_counts._count(broken, [0], collator("qwen2_vl"), 0)


def test_another_collator_cannot_count(rows):
    with pytest.raises(DataError, match="own collator"):
        token_counts.token_counts(rows, lambda rows: rows)
