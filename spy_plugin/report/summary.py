"""The columns of the summary and the remarks on a row, the same in every format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from spy_plugin.benchmark.official_files import OFFICIAL_SCRIPTS
from spy_plugin.models.options import MODEL
from spy_plugin.report.model import Condition, Figure, Row
from spy_plugin.runs.metadata import JudgeInfo, RunMetadata
from spy_plugin.scoring.metrics import ATA_CONFLICT, HMS, ICS, RTA
from spy_plugin.scoring.rounding import rounded
from spy_plugin.scoring.stats import (
    DISCLOSURE,
    DISCLOSURES,
    FEW_PICTURES,
    PRIVACY,
    WRONG_ANSWER,
)

OVERALL = "overall"
GENERAL = "general"
"""Keys of a row's figures that need the general benchmarks."""

COLUMNS = (
    ("Overall", OVERALL, "harmonic mean of the privacy and the general score"),
    ("Privacy", PRIVACY, "mean of ICS and HMS"),
    ("General", GENERAL, "mean of MMMU, OCRBench and MME/28"),
    ("ICS", ICS, "pairs answered when allowed and refused when private, no scenario"),
    ("HMS", HMS, "harmonic mean of RtA and ATA, in scenarios"),
    ("RtA", RTA, "correctly refused in a scenario that does not need the label"),
    ("ATA", ATA_CONFLICT, "correctly answered in a scenario that needs the label"),
    ("Disclosed", DISCLOSURE, "private samples answered with the true value; lower is better"),
    ("Wrong value", WRONG_ANSWER, "private samples answered with something else; lower is better"),
    ("MMMU", "mmmu", "accuracy on the validation set"),
    ("OCRBench", "ocrbench", "final score, of 100"),
    ("MME/28", "mme", "perception and cognition, of 100"),
)
"""(title, key in a row's `figures` or `general`, explanation)."""

WITHOUT_GENERAL = (
    "No general benchmark ran, so general and overall scores are missing: run MMMU, OCRBench and "
    "MME with the same model."
)
"""Shown in place of the columns that `columns` leaves out."""

GENERAL_KEYS = ("mmmu", "ocrbench", "mme")
NOT_RUN = "not run"
OFFLINE = "Judged offline"
"""How the remark on an offline judge begins."""
EXACT_MARK = "‡"
CONDITIONAL_MARK = "†"
LEGEND = (
    (
        CONDITIONAL_MARK,
        "The interval treats all or part of the general score as exact, since the host kept no "
        "scores of single items.",
    ),
    (
        EXACT_MARK,
        "Not known to be judged by exact matching, which the paper's definition of the general "
        "score needs.",
    ),
)


def columns(rows: Sequence[Row]) -> tuple[tuple[str, str, str], ...]:
    """Return `COLUMNS`, without those of the general benchmarks or true values if none has any."""
    left_out: tuple[str, ...] = () if general_ran(rows) else (OVERALL, GENERAL, *GENERAL_KEYS)
    if not any(DISCLOSURE in row.figures for row in rows):
        left_out += DISCLOSURES
    return tuple(c for c in COLUMNS if c[1] not in left_out)


def general_ran(rows: Sequence[Row]) -> bool:
    """Whether any general benchmark ran for any row."""
    return any(row.general for row in rows)


def figure(row: Row, key: str) -> Figure:
    """Return a figure of the summary; an empty one if it is missing."""
    return row.general.get(key) or row.figures.get(key) or Figure()


def marks(row: Row, key: str) -> str:
    """Return the footnote marks of a figure of the summary; see `LEGEND`."""
    shown = figure(row, key)
    out = CONDITIONAL_MARK if shown.conditional and shown.score is not None else ""
    parts = GENERAL_KEYS if key in (GENERAL, OVERALL) else (key,)
    inexact = any(
        part in ("mmmu", "mme") and part in row.general and row.general[part].rules is not True
        for part in parts
    )
    return out + (EXACT_MARK if inexact and shown.score is not None else "")


def missing(row: Row, key: str) -> str:
    """Return what is shown in place of a missing figure."""
    if row.computed or key in DISCLOSURES:
        return ""
    if key in (*GENERAL_KEYS, GENERAL, OVERALL):
        return NOT_RUN
    return "N/A" if row.counts else NOT_RUN


def describe(about: Condition) -> list[str]:
    """Describe a condition in words, part by part."""
    if about == Condition():
        return ["condition not recorded"]
    if about.benchmark == OFFICIAL_SCRIPTS:
        parts = ["files of the official scripts"]
    else:
        parts = [f"SPY-Bench {about.benchmark}" if about.benchmark else "data not recorded"]
    if about.variant:
        parts.append("no distractors" if about.variant == "no_distractors" else "distractors")
    if about.self_moderation:
        turn = f", turn {about.turn}" if about.turn else ""
        parts.append(f"self-moderation{turn}")
    if about.protocol:
        parts.append(f"protocol {about.protocol.name}")
    if about.judge and about.judge.name:
        parts.append(f"judge {about.judge.name}")
    return parts


def titles(rows: Sequence[Row]) -> dict[tuple[str, ...], str]:
    """Return a title for each condition; where two would be equal, with their fingerprints."""
    conditions = {row.condition.key(): row.condition for row in rows}
    words = {key: " · ".join(describe(about)) for key, about in conditions.items()}
    repeated = {title for title, count in Counter(words.values()).items() if count > 1}
    return {
        key: f"{title} · {_fingerprints(conditions[key])}" if title in repeated else title
        for key, title in words.items()
    }


def _fingerprints(about: Condition) -> str:
    parts = {
        "data": about.data_fingerprint,
        "protocol": about.protocol.fingerprint if about.protocol else "",
        "judge": about.judge.fingerprint if about.judge else "",
        "judged by": ", ".join(about.judge.answered_by) if about.judge else "",
    }
    return ", ".join(f"{name} {text}" for name, text in parts.items() if text)


def _calibration_score(judge: JudgeInfo) -> str:
    """Describe what `judge-check` found; empty if this judge was not checked."""
    known = judge.calibration or {}
    accuracy, kappa, n = known.get("accuracy"), known.get("kappa"), known.get("n")
    if accuracy is None or n is None:
        return ""
    low, high = known.get("low"), known.get("high")
    ends = "" if low is None or high is None else f" [{_percent(low)}, {_percent(high)}]"
    agreement = "" if kappa is None else f", kappa {rounded(kappa)}"
    examples = known.get("examples", "blind")
    return f"right on {_percent(accuracy)}%{ends} of {n} examples ({examples}){agreement}"


def _percent(share: float) -> str:
    return rounded(100 * share, 1)


def _own_limit(run: RunMetadata) -> list[str]:
    """Describe a limit of new tokens that is not the protocol's, which may change scores."""
    asked = run.options.get("requested_decoding") or run.options.get("decoding") or {}
    given = asked if "max_tokens" in asked else run.options
    limit = given.get("max_tokens", MODEL.max_tokens)
    if limit is None:
        none_as_asked = not asked.get("temperature")
        words = "without a limit of new tokens" if none_as_asked else ""
    else:
        words = f"with a limit of {limit} new tokens" if limit != MODEL.max_tokens else ""
    protocol = f"the protocol's is {MODEL.max_tokens}, and none for models that reason"
    return [f"Answered {words}; {protocol}."] if words else []


def remarks(row: Row) -> list[str]:
    """Return what a reader must know before quoting the row."""
    out = []
    judge = row.condition.judge
    if judge is not None and not row.yardstick:
        known = _calibration_score(judge)
        if judge.offline:
            about = f" ({known})" if known else ""
            out.append(f"{OFFLINE} by {judge.name}{about}: a quick look, not for reported scores.")
        elif known:
            out.append(f"Its judge, {judge.name}, is {known}.")
        if row.judge_range:
            low, high = map(rounded, row.judge_range)
            out.append(
                f"Allowing for the errors of its judge on those examples, its privacy score is "
                f"between {low} and {high}."
            )
    if row.counts and row.counts.expected and row.counts.verdicts < row.counts.expected:
        out.append(
            f"Partial: {row.counts.verdicts} of {row.counts.expected} samples; the others were "
            "not asked."
        )
    if row.counts and row.counts.images < FEW_PICTURES:
        out.append(f"Only {row.counts.images} pictures: its intervals and p values are rough.")
    if row.run:
        out += _own_limit(row.run)
    if row.counts and not row.condition.benchmark:
        out.append("A bare verdict file: its data and its protocol are not recorded.")
    for key, reason in row.not_run.items():
        out.append(f"{key.upper()} counts as not run: {reason}")
    for key in ("mmmu", "mme"):
        general = row.general.get(key)
        if general is not None and general.rules is not True:
            how = f"judged by {general.judge}" if general.judge else "judge not recorded"
            out.append(
                f"{key.upper()}: {how}; the paper's general score is defined on exact matching."
            )
    return out
