"""The settings of our judges that a host has no option for, as one JSON object.

VLMEvalKit takes it by ``--judge-args``, lmms-eval by an environment variable. ``structured`` is the
form of the replies, ``extra`` holds further fields of each request, ``ray`` and ``engines`` say
where a local judge runs, and everything else is an argument of its engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.build import OFFLINE
from spy_plugin.models.base import LOCAL_BACKENDS

_WITH_ENGINE = tuple(f"{backend}:" for backend in LOCAL_BACKENDS)


def has_engine(judge: str | None) -> bool:
    """Whether the judge is a model that this process, or Ray, loads."""
    return str(judge).startswith(_WITH_ENGINE)


def as_model_options(judge: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `ModelOptions` that the settings stand for.

    Args:
        judge: The judge's name; None for one that the environment names.

    Raises:
        JudgeSetupError: a setting is of the wrong type, or none of this judge's.
    """
    own = dict(arguments)
    structured, request = own.pop("structured", None), own.pop("extra", None) or {}
    ray, engines = own.pop("ray", None), own.pop("engines", None)
    if not isinstance(request, Mapping):
        raise JudgeSetupError(f"the judge's setting extra is {request!r}. Give a JSON object.")
    if ray is not None and not isinstance(ray, str):
        raise JudgeSetupError(
            f"the judge's setting ray is {ray!r}. Give local, auto or an address."
        )
    if engines == "auto":
        engines = None
    if engines is not None and (type(engines) is not int or engines < 1):
        raise JudgeSetupError(f"the judge's setting engines is {engines!r}. Give auto or a number.")
    if own and judge not in OFFLINE and not has_engine(judge):
        raise JudgeSetupError(
            f"unknown judge option {', '.join(own)}. Use structured, or extra for further fields "
            "of the request."
        )
    return {
        "structured": structured,
        "request_args": dict(request),
        "engine_args": own,
        "ray": ray,
        "engines": engines,
    }
