"""Read the form of a benchmark from one's own pictures: `benchmark.yaml` and a table of items.

A person or a script fills the form. Reading collects every problem with its file and line, so that
all of them can be shown at once; `own_benchmark` turns a form without problems into a benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as InvalidForm

from spy_plugin.benchmark.loading import Template, Text, below_the_root
from spy_plugin.benchmark.own_names import FORM_FILE, ITEMS_FILE
from spy_plugin.benchmark.own_rows import REMEDY, FormRow, Problem, RowCheck, read_rows, text_of
from spy_plugin.errors import DataError
from spy_plugin.files.home import expand
from spy_plugin.files.json import YAML, problem_in
from spy_plugin.registry.catalog import StrictLoader


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("must be one line")
    return text


Id = Annotated[str, StringConstraints(pattern=r"^\w[\w.+-]{0,79}$")]
"""A name that stands in ids of samples: letters, digits and ``_ . + -``."""
Line = Annotated[Text, AfterValidator(_one_line)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelEntry(_Part):
    """A kind of private information.

    Attributes:
        words: How prompts and the judge name it.
        absolute: Always to be refused, whatever the user says.
        group: Labels of one group are never drawn as distractors of each other.
    """

    id: Id
    words: Line
    absolute: bool = False
    group: str = ""


class RoleEntry(_Part):
    """A role in which a question is asked.

    Attributes:
        template: The role in words, with one ``{}`` for the question.
        needs: Labels that the role needs for its work.
    """

    id: Id
    template: Template
    needs: list[str] = []


class Distractors(_Part):
    """How other labels are drawn for an item that names none."""

    number: int = Field(default=5, ge=0, le=50)
    seed: int = 0


class Instructions(_Part):
    """Instruction lines in other words than the built-in ones, each with one ``{}``."""

    public: Template
    private: Template


class FormFile(_Part):
    """The content of `benchmark.yaml`.

    Attributes:
        pictures: Folder of the pictures, from the form's own folder.
        items: The table of items, beside the form.
    """

    name: Annotated[str, StringConstraints(pattern=r"^\w[\w.-]{0,39}$")]
    pictures: Text
    items: Annotated[Text, AfterValidator(below_the_root)] = ITEMS_FILE
    labels: Annotated[list[LabelEntry], Field(min_length=1)]
    scenarios: list[RoleEntry] = []
    distractors: Distractors = Distractors()
    instructions: Instructions | None = None


@dataclass(frozen=True)
class Form:
    """A form as it was read.

    Attributes:
        content: What `benchmark.yaml` says; None if that has problems.
        delimiter: What separates the table's columns.
    """

    folder: Path
    content: FormFile | None
    rows: tuple[FormRow, ...] = ()
    problems: tuple[Problem, ...] = ()
    delimiter: str = ","

    @property
    def filled(self) -> FormFile:
        """The content of `benchmark.yaml`.

        Raises:
            DataError: it has problems; the first one.
        """
        if self.content is None:
            raise refusal(self.problems, self.folder)
        return self.content

    @property
    def items_file(self) -> Path:
        """The table of items."""
        return self.folder / self.filled.items

    @property
    def image_root(self) -> Path:
        """The folder of the pictures."""
        return self.folder / expand(self.filled.pictures)


def refusal(problems: tuple[Problem, ...], folder: Path) -> DataError:
    """Return the error that names the first problem, and how to see the others."""
    more = f" {len(problems) - 1} more problem(s)." if len(problems) > 1 else ""
    first = problems[0]
    return DataError(
        first.text, f"See all with: spy-bench new {folder} --check.{more}",
        path=first.path, where=f"line {first.line}",
    )  # fmt: skip


def read_form(folder: Path) -> Form:
    """Read a form, with every problem that its text has.

    Raises:
        DataError: a file is missing, or is not YAML or CSV at all.
    """
    path = folder / FORM_FILE
    content, problems = _read_yaml(path)
    if content is None:
        return Form(folder, None, (), tuple(problems))
    form = Form(folder, content)
    rows, delimiter, odd = read_rows(form.items_file)
    problems += [*odd, *_problems_of_rows(form, rows)]
    problems.sort(key=lambda problem: not problem.fatal)
    return Form(folder, content, tuple(rows), tuple(problems), delimiter)


def _read_yaml(path: Path) -> tuple[FormFile | None, list[Problem]]:
    text = text_of(path)
    loader = StrictLoader(text)
    try:
        # An alias of an alias grows without bound where a message shows it.
        for event in yaml.parse(text, Loader=StrictLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise DataError(
                    "holds an alias", "Write the value out.", path=path, where=f"line {line}"
                )
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or error
        raise DataError(f"is not YAML ({said})", REMEDY, path=path, where=where) from error
    finally:
        loader.dispose()
    try:
        content = FormFile.model_validate(value)
    except InvalidForm as error:
        found = error.errors(include_url=False)
        return None, [Problem(path, _line_of(node, e["loc"]), problem_in(e, YAML)) for e in found]
    problems = [
        Problem(path, _line_of(node, loc), text, fatal)
        for loc, text, fatal in _problems_of_content(content)
    ]
    return (None if any(problem.fatal for problem in problems) else content), problems


def _line_of(node: Any, loc: tuple[int | str, ...]) -> int:
    """Return the line of a value in YAML, or of the nearest thing that holds it."""
    line = 1 if node is None else node.start_mark.line + 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _problems_of_content(content: FormFile) -> Iterator[tuple[tuple[int | str, ...], str, bool]]:
    """Yield (place, problem, whether it is fatal) for what one field alone does not show."""
    for part in ("labels", "scenarios"):
        ids = [entry.id for entry in getattr(content, part)]
        for number, name in enumerate(ids):
            if name in ids[:number]:
                yield (part, number, "id"), f"duplicate id {name!r} in {part}", True
    words: dict[str, str] = {}
    for number, label in enumerate(content.labels):
        other = words.setdefault(label.words.casefold(), label.id)
        if other != label.id:
            yield (
                ("labels", number, "words"),
                f"label {label.id} has the same words as {other}: no prompt can tell them apart",
                False,
            )
    known = {label.id for label in content.labels}
    for number, role in enumerate(content.scenarios):
        for label_id in role.needs:
            if label_id not in known:
                yield (
                    ("scenarios", number, "needs"),
                    f"scenario {role.id} needs the unknown label {label_id!r}",
                    True,
                )
    lines = content.instructions
    if lines is not None and lines.public.casefold() == lines.private.casefold():
        yield ("instructions",), "the public and the private instruction are equal", True


def _problems_of_rows(form: Form, rows: list[FormRow]) -> Iterator[Problem]:
    path = form.items_file
    check = row_check(form)
    first: dict[str, int] = {}
    for row in rows:
        before = first.setdefault(row.id, row.line)
        if row.id and before != row.line:
            yield Problem(path, row.line, f"duplicate id {row.id!r}, first in line {before}")
        for text, fatal in check.problems(row):
            yield Problem(path, row.line, text, fatal)


def row_check(form: Form) -> RowCheck:
    """Return what checks one row of a form by itself."""
    return RowCheck(
        {label.id for label in form.filled.labels},
        {role.id for role in form.filled.scenarios},
        form.image_root,
    )
