"""How a model is run or asked, and what for: an answer or a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelOptions:
    """How a model is run or asked, in any role; the command line spells them alike.

    Attributes:
        temperature: None for greedy decoding, or 1 for a model that reasons.
        max_tokens: Limit of new tokens, 0 for none; None for the role's.
        reasoning: Whether the model thinks before it answers: ``yes``, ``no``, or ``auto`` for what
            the registry says, else its name; see `reasoning.is_reasoning`.
        reasoning_max_tokens: Limit of new tokens of a model that reasons, its thoughts included, 0
            for none; None for `max_tokens` if given, else the role's.
        seed: Seed of sampling.
        structured: ``choice`` or ``json``, to allow a judge nothing but the two words; see
            `Structured`.
        base_url: Address of an OpenAI-compatible server; see `servers.find_server`.
        key_variable: Environment variable with this server's key.
        api_key: This server's key, where a caller has it.
        concurrency: Requests in flight.
        retries: Attempts after the first.
        timeout: Seconds an attempt may take; None for the role's default.
        request_args: Further fields of each request.
        engine_args: Arguments of `vllm.LLM` or `from_pretrained`; they override the registry's.
        batch_size: Conversations continued together; None for the backend's default.
        trust_remote_code: Let a local model run Python code of its repository.
        ray: Run engines on Ray: ``local`` for this machine alone, ``auto`` for the cluster that is
            there, or a cluster's address; None for one engine in this process.
        engines: How many engines on Ray; None for as many as find room.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    reasoning: str = "auto"
    reasoning_max_tokens: int | None = None
    seed: int | None = None
    structured: str | None = None
    base_url: str | None = None
    key_variable: str = ""
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 16
    retries: int = 5
    timeout: float | None = None
    request_args: Mapping[str, Any] = field(default_factory=dict)
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    trust_remote_code: bool = False
    ray: str | None = None
    engines: int | None = None


@dataclass(frozen=True)
class Role:
    """What a model is asked for, and the defaults and names that follow from it.

    Attributes:
        name: ``model`` or ``judge``.
        backend_option: How the command line chooses a backend, with a ``{}`` for it.
        max_tokens: Limit of new tokens, unless the model reasons.
        reasoning_max_tokens: Limit if it does, its thoughts included; 0 for none.
        timeout: Seconds that an attempt may take.
        words: The possible texts of structured output; empty where it is not supported.
        url_variable, key_variable: Environment variables of this role alone; empty for none.
        without_key: What to do instead without a key, for the message.
    """

    name: str
    backend_option: str
    max_tokens: int
    timeout: float
    reasoning_max_tokens: int = 0
    words: tuple[str, ...] = ()
    url_variable: str = ""
    key_variable: str = ""
    without_key: str = ""


MODEL = Role("model", "--backend {}", max_tokens=512, timeout=600.0)
"""The protocol's limits of tokens."""

JUDGE = Role(
    "judge",
    "--judge {}:MODEL",
    max_tokens=512,
    timeout=60.0,
    reasoning_max_tokens=8192,
    words=("respond", "reject"),
    url_variable="JUDGE_BASE_URL",
    key_variable="JUDGE_API_KEY",
    without_key=" Or use --judge rules for a quick look that is not to be reported.",
)
