"""The metadata of a run, which every host writes beside its verdicts and the report reads.

A run leaves two files: `{model}_{dataset}_verdicts.jsonl`, one `Verdict` per line, and
`{model}_{dataset}_spy.json`, one `RunMetadata`: enough to say what was measured and to run it
again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from spy_plugin import __version__
from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import DISTRACTORS, NO_DISTRACTORS, fingerprint
from spy_plugin.files.json import read_json_as, refuse_newer
from spy_plugin.files.text import storable, storable_json
from spy_plugin.files.writing import write_atomically

VERDICTS_SUFFIX = "_verdicts.jsonl"
METADATA_SUFFIX = "_spy.json"

_REMEDY = (
    "It must be the *_spy.json that a run of this package wrote. Restore it, or judge the answers "
    "again."
)
_NOT_IN_NAMES = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
"""What Windows does not take in a file name."""
_FILES = ("answers", "verdicts")
"""Fields that name files of the disk; they stay as they are."""
_LONGEST_NAME = 120
"""Bytes of a model's name in a file name; most file systems take 255 for all of it."""

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    # Hosts may add keys of their own; they are kept and shown unchanged.
    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _printable(cls, fields: Any) -> Any:
        """Texts are printed and put into reports where a run of somebody else is read."""
        if not isinstance(fields, dict):
            return fields
        try:
            return {k: v if k in _FILES else storable_json(v) for k, v in fields.items()}
        except RecursionError as error:
            raise ValueError(f"is {error}") from error


class ProtocolInfo(_Record):
    """The words that were used; see `benchmark.protocol.Protocol`.

    Attributes:
        absolute_labels: Labels that are always refused, where they are not the paper's.
    """

    name: str
    fingerprint: str
    absolute_labels: list[str] | None = None

    @classmethod
    def of(cls, protocol: Protocol, name: str | None = None) -> ProtocolInfo:
        """Return what results carry of a protocol, perhaps under another name."""
        own = protocol.absolute_labels != ABSOLUTE_LABELS
        return cls(
            name=name or protocol.name,
            fingerprint=protocol.fingerprint,
            absolute_labels=sorted(protocol.absolute_labels) if own else None,
        )

    @property
    def always_refused(self) -> frozenset[str]:
        """The absolute labels."""
        own = self.absolute_labels
        return ABSOLUTE_LABELS if own is None else frozenset(own)


def _at_most_all(counts: tuple[int, int]) -> tuple[int, int]:
    if counts[0] > counts[1]:
        raise ValueError(f"has {counts[0]} wrong of {counts[1]}")
    return counts


Errors = Annotated[tuple[Count, Count], AfterValidator(_at_most_all)]
"""(wrong, judged) of some examples."""


class Calibration(TypedDict, total=False):
    """What `judge-check` found of a judge; see `judging.calibration.score_of`."""

    judge: str
    examples: str
    accuracy: Share
    low: Share
    high: Share
    kappa: Annotated[float, Field(ge=-1, le=1)] | None
    n: Count
    respond: Errors
    reject: Errors


class JudgeInfo(_Record):
    """Who judged.

    Attributes:
        name: For example ``rules`` or ``openai:gpt-4o-2024-11-20``.
        fingerprint: Changes with everything that may change a verdict (prompt, model, options).
        offline: A judge for quick looks, whose scores must not be reported.
        servers: Addresses of the servers that were asked, without secrets.
        answered_by: The models that judged, by their servers' account.
        calibration: Its accuracy on known examples, where that was measured.
    """

    name: str
    fingerprint: str = ""
    offline: bool = False
    servers: list[str] = Field(default_factory=list)
    answered_by: list[str] = Field(default_factory=list)
    calibration: Calibration | None = None


class Usage(_Record):
    """What one role (``generate``, ``judge``) took; None where it was not counted.

    Attributes:
        cached: Requests that a cache answered.
        seconds: Wall time.
        cost: US dollars.
    """

    requests: Count | None = None
    cached: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    seconds: Amount | None = None
    cost: Amount | None = None


class RunMetadata(_Record):
    """One model on one data set under one condition.

    Attributes:
        host: ``vlmeval``, ``lmms-eval`` or ``spy-bench``.
        dataset: The host's name of the data set or task.
        model: The name the host ran it by; the report resolves it through the registry.
        model_path: What was loaded: a repository id, a path, a URL; empty if unknown.
        model_revision: Commit of the weights, if known.
        self_moderation: Three turns were played and the last was judged.
        benchmark: ``official``, ``mini``, ``lab``, or the name of the user's own data, as
            ``own:NAME@CONTENT``.
        data_fingerprint: Fingerprint of the questions that were asked.
        samples: How many samples the data set has, to tell a partial run.
        started, finished: In UTC.
        usage: By role, ``generate`` and ``judge``.
        judge_summary: The judge's own counts.
        answers, verdicts: File names, in the folder of this file.
        options: Decoding and the host's other options.
    """

    schema_version: Annotated[Literal[1], BeforeValidator(refuse_newer)] = Field(
        default=1, alias="schema"
    )
    host: str
    host_version: str = ""
    dataset: str
    model: str
    model_path: str = ""
    model_revision: str = ""
    variant: Literal["distractors", "no_distractors"]
    self_moderation: bool = False
    benchmark: str
    data_fingerprint: str = ""
    samples: Count | None = None
    protocol: ProtocolInfo
    judge: JudgeInfo
    seed: int | None = None
    spy_bench_version: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    usage: dict[str, Usage] = Field(default_factory=dict)
    judge_summary: dict[str, Any] = Field(default_factory=dict)
    answers: str = ""
    verdicts: str = ""
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("benchmark")
    @classmethod
    def _short(cls, value: str) -> str:
        """The name stands in messages."""
        return storable(value, 200)

    @field_validator("started", "finished")
    @classmethod
    def _as_utc(cls, value: datetime | None) -> datetime | None:
        """A time without a zone is taken for UTC, so that runs can be put in order."""
        if value is None:
            return None
        try:
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(
                timezone.utc
            )
        except OverflowError as error:
            raise ValueError("is beyond the years that can be told") from error

    def write(self, path: Path) -> None:
        """Write one JSON object, replacing the file in one step."""
        text = self.model_dump_json(by_alias=True, indent=1)
        write_atomically(path, text + "\n")

    @classmethod
    def read(cls, path: Path, remedy: str = _REMEDY) -> RunMetadata:
        """Read what `write` wrote.

        Args:
            remedy: What to do about a file that cannot be used.

        Raises:
            DataError: the file is missing, not JSON, or lacks a field.
        """
        return read_json_as(cls, path, remedy)


NOBODY = JudgeInfo(name="")
"""The judge of a run whose answers are not judged yet."""


def new_run(
    benchmark: str,
    samples: Iterable[Sample],
    protocol: Protocol,
    *,
    distractors: bool,
    judge: JudgeInfo = NOBODY,
    **fields: Any,
) -> RunMetadata:
    """The metadata of a run, whichever host it is in.

    Args:
        benchmark: Its name.
        samples: All of the data set.
        fields: The other fields of `RunMetadata`.
    """
    asked = list(samples)
    return RunMetadata(
        variant=DISTRACTORS if distractors else NO_DISTRACTORS,
        benchmark=benchmark,
        data_fingerprint=fingerprint(asked),
        samples=len(asked),
        protocol=ProtocolInfo.of(protocol),
        judge=judge,
        spy_bench_version=__version__,
        **fields,
    )


def run_files(folder: Path, model: str, dataset: str) -> tuple[Path, Path]:
    """Return where a run's verdicts and its metadata go; see `safe_name`."""
    stem = f"{safe_name(model)}_{safe_name(dataset)}"
    return folder / (stem + VERDICTS_SUFFIX), folder / (stem + METADATA_SUFFIX)


def safe_name(name: str) -> str:
    """Return a name as it stands in file names of every system.

    Slashes become ``__``, what cannot be in a file name ``-``; of a long name the beginning and a
    digest stay.
    """
    safe = _NOT_IN_NAMES.sub("-", name.replace("\\", "/").replace("/", "__"))
    whole = safe.encode("utf-8", "replace")
    if len(whole) <= _LONGEST_NAME:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{whole[:_LONGEST_NAME].decode('utf-8', 'ignore')}-{digest}"
