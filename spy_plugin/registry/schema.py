"""The fields of the entries of `registry/*.yaml`, which `spy_plugin.registry.catalog` reads."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

FileName = Annotated[str, StringConstraints(pattern=r"^[\w.+-]+$")]
"""A name that is valid inside a file name: hosts build paths from it."""

HubId = Annotated[str, StringConstraints(pattern=r"^([\w.-]+/[\w.-]+)?$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class VLMEvalKitRun(_Entry):
    """How VLMEvalKit runs a model: by its own `key`, or by a class that we register.

    Attributes:
        key: The host's own name of the model.
        target: The class as ``module:object``; it is imported when the model is run.
        arguments: Arguments of the class.
    """

    key: FileName | None = None
    target: str = Field(default="", pattern=r"^([\w.]+:\w+)?$")
    arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_way(self) -> VLMEvalKitRun:
        if (self.key is None) == (not self.target):
            raise ValueError("give either key or target")
        if self.arguments and not self.target:
            raise ValueError("arguments go with target")
        return self


class LmmsRun(_Entry):
    """How lmms-eval runs a model: ``--model`` and ``--model_args``."""

    model: FileName
    arguments: dict[str, Any] = {}


class VllmRun(_Entry):
    """How vLLM runs a model.

    Attributes:
        arguments: Arguments of `vllm.LLM`; `vllm serve` takes the same names with dashes.
        remote_code: It runs Python code of its repository, which the user must allow.
        lora: Folder inside the repository with an adapter that pictures need.
        stop_token_ids: Token ids that end an answer in addition to the model's own.
    """

    arguments: dict[str, Any] = {}
    remote_code: bool = False
    lora: str = ""
    stop_token_ids: tuple[int, ...] = ()

    @property
    def engine_arguments(self) -> dict[str, Any]:
        """`arguments`, and a limit of one picture per prompt, which is all the benchmark needs."""
        return {"limit_mm_per_prompt": {"image": 1}} | self.arguments


class ApiRun(_Entry):
    """How a provider serves a model.

    Attributes:
        model: The provider's name of the model.
        base_url: The OpenAI-compatible endpoint; empty for the openai package's default.
        key_variable: Environment variable that holds the key.
        reasoning: Whether the model thinks first: temperature 1, no limit of new tokens.
    """

    model: str
    base_url: str = ""
    key_variable: str
    reasoning: bool = False


class PublishedFigure(_Entry):
    """A figure that was published elsewhere, with its source."""

    figure: str = Field(min_length=1)
    value: float
    source: str = Field(min_length=1)


class Model(_Entry):
    """A vision-language model.

    Attributes:
        name: The name in tables and file names; it never changes.
        display_name: The name as the paper writes it, otherwise as the model's makers do.
        aliases: Other names that both hosts accept through us.
        hub_id: Repository of the weights; empty for a model behind an API.
        kind: ``open`` weights, an ``api``, or a ``checkpoint`` fine-tuned from `base`.
        parameters: Number of parameters in billions; None if unknown.
        licence: Licence of the weights; empty if unknown.
        paper: Whether it is one of the 21 of the paper's table or of its four checkpoints.
        note: What a user should know before running it.
    """

    name: FileName
    display_name: str = Field(min_length=1)
    aliases: tuple[FileName, ...] = ()
    hub_id: HubId = ""
    kind: Literal["open", "api", "checkpoint"]
    base: str = ""
    parameters: float | None = Field(default=None, gt=0)
    licence: str = ""
    paper: bool = False
    vlmeval: VLMEvalKitRun
    lmms: LmmsRun
    vllm: VllmRun | None = None
    api: ApiRun | None = None
    published: tuple[PublishedFigure, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _kind_fits(self) -> Model:
        if (self.kind == "api") != (self.api is not None):
            raise ValueError("an API model, and no other, has the field api")
        if (self.kind == "api") == bool(self.hub_id) or bool(self.hub_id) != (
            self.vllm is not None
        ):
            raise ValueError("a model with weights, and no other, has hub_id and vllm")
        if (self.kind == "checkpoint") != bool(self.base):
            raise ValueError("a checkpoint, and no other, has the field base")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a command line accepts: the name, then the aliases."""
        return (self.name, *self.aliases)

    @property
    def known_as(self) -> tuple[str, ...]:
        """Every text that means this model in a command or in a result."""
        hub = (self.hub_id, PurePosixPath(self.hub_id).name) if self.hub_id else ()
        api = (self.api.model,) if self.api else ()
        key = (self.vlmeval.key,) if self.vlmeval.key else ()
        return (*self.names, self.display_name, *hub, *api, *key)


class Host(_Entry):
    """Software that we plug into.

    Attributes:
        distribution: What pip installs.
        also_as: Other distributions that install the same module.
        module: What Python imports.
        extra: Our extra that installs it.
        tested: Versions that the tests run with.
        dataset_aliases: Common name of a data set -> the host's name.
        multi_turn_classes: Version -> those of the host's model classes that take a conversation
            of several turns, as ``module.Class``.
        judges: Name of a judge that the host builds -> variable of its key; empty for a local one.
    """

    name: FileName
    display_name: str
    distribution: str
    also_as: tuple[str, ...] = ()
    module: str
    extra: str
    tested: tuple[str, ...]
    dataset_aliases: dict[str, str] = {}
    multi_turn_classes: dict[str, tuple[str, ...]] = {}
    judges: dict[str, str] = {}

    @model_validator(mode="after")
    def _every_tested_version(self) -> Host:
        if self.multi_turn_classes and set(self.multi_turn_classes) != set(self.tested):
            raise ValueError("list multi_turn_classes for every tested version, and no other")
        return self


class HostsFile(_Entry):
    """`hosts.yaml`: the hosts, and the versions of other packages that the tests run with."""

    hosts: tuple[Host, ...]
    packages: dict[str, tuple[str, ...]]


class Archive(_Entry):
    """A download that is not part of the release repository.

    Attributes:
        url: Address of the file, or of a page if `manual`.
        size: Size in bytes, if known.
        sha256: Hex digits of its SHA-256; empty if unknown.
        folder: Folder of pictures inside it.
        manual: Whether the page must be opened in a browser.
    """

    url: str
    size: int | None = None
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    folder: str = ""
    manual: bool = False


class Release(_Entry):
    """A revision of the official data.

    Attributes:
        repository: Address to clone from.
        archive: Address of the same revision as one file.
        files: Path in the release -> git blob id.
        tune_files: The same for SPY-Tune.
        downloads: What the repository lacks: ``benchmark_images``, ``tune_images``, ``tune_data``.
    """

    name: FileName
    repository: str
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    archive: str
    files: dict[str, str]
    tune_files: dict[str, str]
    downloads: dict[str, Archive]


class Variant(_Entry):
    """One way of asking the benchmark, under its name in each host."""

    vlmeval: FileName
    lmms: FileName
    benchmark: Literal["official", "mini", "lab", "lab-small", "own"]
    distractors: bool
    self_moderation: bool = False
