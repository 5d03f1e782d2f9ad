"""Training shows a model the pixels that evaluation shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trl")

from spy_plugin.data.pictures import open_rgb
from tests.models.test_pictures import ODD, odd_pictures  # noqa: F401
from trl_ext.prefix_sharing.pictures import open_picture, picture_size


@pytest.mark.parametrize("name", [name for name in ODD if name != "thin.png"])
def test_training_gives_the_same_pixels(name: str, odd_pictures: Path) -> None:  # noqa: F811
    path = odd_pictures / name
    row = {"path": str(path), "bytes": None}
    seen = open_rgb(path)
    assert np.array_equal(np.asarray(open_picture(row).convert("RGB")), np.asarray(seen))
    assert picture_size(row) == seen.size


def test_a_picture_that_evaluation_pads_is_not_trained_on(odd_pictures: Path) -> None:  # noqa: F811
    row = {"path": str(odd_pictures / "thin.png"), "bytes": None}
    for read in (open_picture, picture_size):
        with pytest.raises(ValueError, match="2 x 600 pixels, and one side is more than 100 times"):
            read(row)
