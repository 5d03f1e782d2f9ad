"""One complete build for all tests of the embedded benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.embedded import mini
from spy_plugin.embedded.mini.canvas import Text
from spy_plugin.embedded.mini.pictures import Picture

Drawn = dict[str, tuple[Text, ...]]


@pytest.fixture(scope="session")
def mini_build(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Drawn]:
    """A data root built from scratch, and the texts drawn in each picture."""
    drawn: Drawn = {}
    draw = Picture.draw

    def recording(picture: Picture) -> tuple[Image.Image, tuple[Text, ...]]:
        image, drawn[picture.name] = draw(picture)
        return image, drawn[picture.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Picture, "draw", recording)
        root = mini.build(tmp_path_factory.mktemp("mini") / "root")
    return root, drawn


@pytest.fixture(scope="session")
def mini_root(mini_build: tuple[Path, Drawn]) -> Path:
    return mini_build[0]


@pytest.fixture(scope="session")
def drawn(mini_build: tuple[Path, Drawn]) -> Drawn:
    return mini_build[1]
