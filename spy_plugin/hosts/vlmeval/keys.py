"""Moves keys from VLMEvalKit's command line, which it logs, into environment variables."""

from __future__ import annotations

import json
import os

from spy_plugin.errors import SpyBenchError

_VARIABLES = {
    "--judge-key": ("JUDGE_API_KEY", "OPENAI_API_KEY"),
    "--key": ("LMDEPLOY_API_KEY",),
}
"""Option -> variables in which our judge and the host look for its key; the first is always set."""

_ARGUMENTS = "--judge-args"

# The host accepts abbreviated options; these are the shortest unambiguous ones.
_SHORTEST = {"--judge-key": "--judge-k", "--key": "--key", _ARGUMENTS: "--judge-ar"}


def hide_keys(words: list[str]) -> list[str]:
    """Move the keys of a command line into the environment, and return the other words.

    Raises:
        SpyBenchError: an option that takes a key has no value.
    """
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        given, equals, value = word.partition("=")
        name = _full_name(given)
        if name in _VARIABLES:
            _set(name, value if equals else next(rest, ""))
        elif name == _ARGUMENTS:
            arguments = value if equals else next(rest, "")
            kept += [_ARGUMENTS, _without_key(arguments)]
        else:
            kept.append(word)
    return kept


def _full_name(given: str) -> str:
    for name, shortest in _SHORTEST.items():
        if name.startswith(given) and given.startswith(shortest):
            return name
    return given


def _set(option: str, key: str) -> None:
    first, *others = _VARIABLES[option]
    if not key:
        raise SpyBenchError(f"{option} needs a value. Better: set {first}.")
    os.environ[first] = key
    for variable in others:
        os.environ.setdefault(variable, key)


def _without_key(arguments: str) -> str:
    """Return the JSON of `--judge-args` without its `key`, which is another `--judge-key`."""
    try:
        options = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        # The host would fail too, but only after generation, and it would show the text.
        raise SpyBenchError(
            f"{_ARGUMENTS} is not valid JSON ({error}). Pass one JSON object, quoted for the shell."
        ) from error
    if not isinstance(options, dict):
        raise SpyBenchError(f"{_ARGUMENTS} is not a JSON object. Pass one, quoted for the shell.")
    if "key" not in options:
        return arguments
    _set("--judge-key", str(options.pop("key")))
    return json.dumps(options)
