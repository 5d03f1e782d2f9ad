"""Review drafts on a page of a browser, which this machine alone serves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from spy_plugin.benchmark.loading import below_the_root
from spy_plugin.benchmark.own_form import Form
from spy_plugin.data.pictures import picture_file
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.json import checked
from spy_plugin.files.text import storable
from spy_plugin.own.reviewing import EDITED, Review, Reviewed
from spy_plugin.own.writing import rewriting
from spy_plugin.report.browser import PAGE, BrowserServer

_PAGE = Path(__file__).with_name("review_page")
_SIDE = 1600
"""Longest side of the pictures on the page, in pixels: small print must be readable."""


def _clean(text: str) -> str:
    """Return a text as it stands in the table, whose cells are stripped."""
    return storable(text.replace("\r\n", "\n").replace("\r", "\n").strip())


class _Decision(BaseModel):
    """What the page sends about a draft.

    Attributes:
        draft: Its number among the drafts at the start.
        cells: Its cells as they are now.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    draft: Annotated[int, Field(ge=0)]
    decision: Literal["accept", "drop"]
    cells: dict[str, Annotated[str, AfterValidator(_clean)]]

    @field_validator("cells")
    @classmethod
    def _known(cls, cells: dict[str, str]) -> dict[str, str]:
        if not cells.keys() <= set(EDITED):
            raise ValueError(f"may name {', '.join(EDITED)} alone")
        return cells


def review_in_browser(
    form: Form, announce: Callable[[BrowserServer], None], *, port: int = 0
) -> Reviewed:
    """Serve the page until Ctrl-C, and write the table after each decision.

    Args:
        announce: Tells the person the address.
        port: 0 for any that is free.

    Raises:
        DataError: the table cannot be written; see `rewriting`.
        SpyBenchError: the port cannot be used.
    """
    with rewriting(form), TemporaryDirectory(prefix="spy-bench-review-") as name:
        folder, session = Path(name), Review(form)
        shutil.copytree(_PAGE, folder, dirs_exist_ok=True)
        shutil.copy(PAGE / "icon.svg", folder)
        page = _Page(session)
        actions = {"drafts": page.drafts, "decide": page.decide}
        with (
            BrowserServer(folder, page.pictures, port=port, actions=actions, side=_SIDE) as server,
            suppress(KeyboardInterrupt),
        ):
            announce(server)
            server.serve()
    return session.done


class _Page:
    """What the page may ask for."""

    def __init__(self, session: Review) -> None:
        self._session, root = session, session.form.image_root.resolve()
        self.pictures: dict[str, Path] = {}
        """The pictures of the drafts that lie where they may, by the page's names."""
        for key, draft in enumerate(session.drafts):
            with suppress(DataError, ValueError, OSError):
                name = below_the_root(draft.picture)
                self.pictures[_image(key)] = picture_file(root, name, where=draft.id)

    def drafts(self, _: Any) -> dict[str, Any]:
        """Return the labels, and the drafts that are open."""
        session = self._session
        return {
            "labels": [(label.id, label.words) for label in session.form.filled.labels],
            "drafts": [
                {
                    "key": key,
                    "id": draft.id,
                    "author": draft.draft,
                    "picture": draft.picture,
                    "image": _image(key) if _image(key) in self.pictures else "",
                    "cells": {name: getattr(draft, name) for name in EDITED},
                    "problems": session.problems(draft),
                }
                for key, draft in enumerate(session.drafts)
                if session.is_open(draft)
            ],
        }

    def decide(self, asked: Any) -> dict[str, Any]:
        """Write a decision, unless the draft cannot be accepted; return its problems."""
        said = checked(_Decision.model_validate, asked, "Reload the page.", path="the page")
        drafts = self._session.drafts
        if said.draft >= len(drafts) or not self._session.is_open(drafts[said.draft]):
            raise SpyBenchError("This draft was decided already. Reload the page.")
        draft = drafts[said.draft]
        if said.decision == "drop":
            self._session.decide(draft, None)
            return {"problems": []}
        cells: dict[str, Any] = said.cells
        row = replace(draft, **cells)
        problems = self._session.problems(row)
        if not problems:
            self._session.decide(draft, row)
        return {"problems": problems}


def _image(key: int) -> str:
    return f"pictures/{key}.jpg"
