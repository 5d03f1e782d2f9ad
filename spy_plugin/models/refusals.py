"""How providers say that they refuse to serve a request or to show a reply.

| provider | a request | a reply (``finish_reason``) |
|---|---|---|
| OpenAI | ``content_policy_violation``, ``invalid_prompt`` | ``content_filter`` |
| OpenAI, images | ``moderation_blocked`` | |
| Azure | ``content_filter``, ``ResponsibleAIPolicyViolation`` | ``content_filter`` |
| Gemini | ``promptFeedback.blockReason`` | ``SAFETY``, ``SPII``, ``PROHIBITED_CONTENT``, ... |
| DashScope | ``data_inspection_failed``, ``DataInspectionFailed`` | |
| Zhipu | ``1301`` | ``sensitive`` |
| Anthropic | | ``refusal`` |
| Bedrock | | ``guardrail_intervened`` |
| OpenRouter | 403 with moderation metadata | ``content_filter: REASON`` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FINISH_REASONS = frozenset(
    {
        "blocklist",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "image_prohibited_content",
        "image_safety",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    }
)
_ERROR_CODES = frozenset(
    {
        "1301",
        "content_filter",
        "content_policy_violation",
        "data_inspection_failed",
        "datainspectionfailed",
        "invalid_prompt",
        "moderation_blocked",
        "responsibleaipolicyviolation",
    }
)
_QUOTA_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "arrearage"}
)
_CODE_FIELDS = ("code", "type", "param")
_INSIDE = ("error", "innererror", "inner_error")
_DEPTH = 4


def filtered_reply(finish_reason: str) -> bool:
    """Whether a reply ended because the provider will not show it, in any spelling of the words."""
    return _letters(finish_reason.partition(":")[0]) in _FINISH_LETTERS


def _letters(words: str) -> str:
    return re.sub("[^a-z]", "", words.lower())


_FINISH_LETTERS = frozenset(map(_letters, _FINISH_REASONS))


def error_object(body: object) -> Mapping[str, Any]:
    """Return the JSON object in a reply, which Gemini puts into a list; empty if there is none."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    return body if isinstance(body, Mapping) else {}


def filtered_request(body: object, depth: int = _DEPTH) -> bool:
    """Whether an error's body says that the provider will not serve the request.

    Args:
        body: Parsed JSON: the error, or an object that holds it.
        depth: How far down errors inside errors are looked at.
    """
    if not isinstance(body, Mapping) or depth == 0:
        return False
    if any(str(body.get(name)).lower() in _ERROR_CODES for name in _CODE_FIELDS):
        return True
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping) and (metadata.get("reasons") or "flagged_input" in metadata):
        return True
    for name in ("promptFeedback", "prompt_feedback"):
        feedback = body.get(name)
        if isinstance(feedback, Mapping) and (
            feedback.get("blockReason") or feedback.get("block_reason")
        ):
            return True
    return any(filtered_request(body.get(name), depth - 1) for name in _INSIDE)


def out_of_quota(body: object) -> bool:
    """Whether an error's body says that the account has nothing left to pay with.

    Some providers send it with the status of a rate limit, but waiting does not end it.
    """
    if not isinstance(body, Mapping):
        return False
    codes = {str(body.get(name)).lower() for name in _CODE_FIELDS}
    return bool(codes & _QUOTA_CODES) or any(out_of_quota(body.get(name)) for name in _INSIDE[:1])
