"""The checks of one run in a bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.records import (
    NOT_ASKED,
    Answer,
    Outcome,
    Sample,
    make_sample_id,
    verdict_of,
    was_asked,
)
from spy_plugin.benchmark.samples import DISTRACTORS, Benchmark, fingerprint
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.scoring.rounding import rounded
from spy_plugin.scoring.stats import PRIVACY, bounds, point_scores
from spy_plugin.scoring.table import VerdictTable
from spy_plugin.sharing.bundle import KNOWN
from spy_plugin.sharing.disclosures import check_disclosures
from spy_plugin.sharing.findings import Found, Status, ids, some
from spy_plugin.sharing.records import BundledRun, compute_figures, hash_of, table_of
from spy_plugin.sharing.rejudging import check_judge

_CLOSE = 1e-6
"""Points that a recomputed figure may differ by: rounding of the last bits on another machine."""


def run_checks(
    run: BundledRun, where: str, benchmark: Benchmark | None, *, rejudge: bool
) -> Iterator[tuple[str, Found]]:
    """Yield (check, what it found) for each check of a run.

    Args:
        where: The run's name in errors.
    """
    samples: dict[str, Sample] | None = None
    if benchmark is not None:
        variant = run.run.variant == DISTRACTORS
        try:
            samples = {s.sample_id: s for s in benchmark.samples(distractors=variant)}
        except SpyBenchError as error:
            yield "benchmark", (Status.FAILED, str(error))
    yield "samples", check_complete(run)
    yield "items", check_items(run)
    yield "answers", check_answers(run)
    yield "benchmark", check_benchmark(run, benchmark, samples)
    yield "judge", check_judge(run, samples, rejudge=rejudge)
    if any(verdict.disclosure for verdict in run.verdicts):
        yield "disclosures", check_disclosures(run, samples)
    yield "figures", check_figures(run, where)


def check_complete(run: BundledRun) -> Found:
    """Compare the rows with the samples that the record and the list of hashes name."""
    ids_here = {verdict.sample_id for verdict in run.verdicts}
    problems = []
    if run.samples is not None:
        listed = {sample.sample_id for sample in run.samples}
        if listed - ids_here:
            problems.append(f"no verdict on {some(sorted(listed - ids_here))}")
        if ids_here - listed:
            problems.append(f"not of the benchmark: {some(sorted(ids_here - listed))}")
    total = run.run.samples
    if total is not None and total != len(run.verdicts):
        problems.append(f"{len(run.verdicts)} verdicts, but the record says {total} samples")
    if problems:
        return Status.FAILED, "; ".join(problems)
    if total is None:
        return Status.CANNOT, "the record does not say how many samples there were"
    open_ones = len(run.verdicts) - len(run.judged)
    if open_ones:
        return Status.CANNOT, (
            f"a row for each of {total} samples, but {open_ones} say that they were not asked: "
            "the figures are those of the others"
        )
    return Status.OK, f"a verdict for each of {total} samples"


def check_items(run: BundledRun) -> Found:
    """Check that ids say what the rows say, and that each item has both of its sides."""
    wrong = [v for v in run.verdicts if not _id_fits(v, run.run.variant)]
    if wrong:
        return Status.FAILED, f"the id is of another sample than the row: {ids(wrong)}"
    sides: dict[tuple[str, str], set[int]] = defaultdict(set)
    for v in run.verdicts:
        if v.scenario is None or v.scenario.is_privacy:
            sides[v.benchmark_id, v.scenario.id if v.scenario else ""].add(v.is_privacy)
    items = {v.benchmark_id for v in run.verdicts}
    halves = [f"{item} {scenario}".strip() for (item, scenario), s in sides.items() if len(s) < 2]
    halves += sorted(item for item in items if (item, "") not in sides)
    if halves:
        return Status.FAILED, f"only one side, public or private, of item {some(sorted(halves))}"
    return Status.OK, f"{len(items)} items have both sides"


def _id_fits(verdict: StoredVerdict, variant: str) -> bool:
    return verdict.sample_id == make_sample_id(
        verdict.benchmark_id, verdict.is_privacy, verdict.scenario, variant
    )


def check_answers(run: BundledRun) -> Found:
    """Compare each verdict with the answer that it judges."""
    if run.answers is None:
        return Status.CANNOT, "the host kept no file of answers; the verdicts' own texts are used"
    by_id = {answer.sample_id: answer for answer in run.answers}
    strangers = sorted(by_id.keys() - {verdict.sample_id for verdict in run.verdicts})
    if strangers:
        return Status.FAILED, f"answers to samples without a verdict: {some(strangers)}"
    wrong = [v for v in run.verdicts if not _fits(v, by_id.get(v.sample_id))]
    if wrong:
        return Status.FAILED, f"verdicts that do not fit their answers: {ids(wrong)}"
    found = [answer.outcome for answer in by_id.values()]
    failed, filtered = found.count(Outcome.FAILED), found.count(Outcome.FILTERED)
    without = f"; {failed} failed and {filtered} were filtered" if failed or filtered else ""
    return Status.OK, f"{len(by_id)} answers are those that were judged{without}"


def _fits(verdict: StoredVerdict, answer: Answer | None) -> bool:
    if not was_asked(verdict.outcome, verdict.error):
        return answer is None
    if answer is None:
        return False
    if answer.outcome is not None:
        return verdict.outcome is answer.outcome
    return verdict.outcome is not Outcome.FILTERED and verdict.answer in (answer.scored, "") and (
        verdict.answer == answer.scored or verdict.outcome is Outcome.FAILED
    )  # fmt: skip


def check_benchmark(
    run: BundledRun, benchmark: Benchmark | None, samples: Mapping[str, Sample] | None
) -> Found:
    """Compare the samples with those of the benchmark itself."""
    about = run.run
    if benchmark is None or samples is None:
        labels = {verdict.label for verdict in run.judged}
        usual = set(run.figures.absolute_labels) == labels & ABSOLUTE_LABELS
        if about.benchmark in KNOWN and not usual:
            return Status.FAILED, f"other absolute labels than those of {about.benchmark}"
        return Status.CANNOT, (
            f"the benchmark {about.benchmark!r} is not available here: name it with --release or "
            "--questions. Whether a whole item was left out is not known"
        )
    problems = []
    if about.data_fingerprint != fingerprint(samples.values()):
        problems.append(f"other data than the record's {about.data_fingerprint or 'none'}")
    if about.protocol.fingerprint not in _protocols(benchmark):
        problems.append(f"other protocol than the record's {about.protocol.fingerprint}")
    labels = {verdict.label for verdict in run.judged}
    if set(run.figures.absolute_labels) != labels & benchmark.protocol.absolute_labels:
        problems.append("other absolute labels")
    by_id = {verdict.sample_id: verdict for verdict in run.verdicts}
    lost, extra = sorted(samples.keys() - by_id.keys()), sorted(by_id.keys() - samples.keys())
    if lost:
        problems.append(f"left out: {some(lost)}")
    if extra:
        problems.append(f"not of the benchmark: {some(extra)}")
    both = [(v, samples[v.sample_id]) for v in run.verdicts if v.sample_id in samples]
    changed = [v for v, sample in both if _keys(v) != _keys(verdict_of(sample, v.outcome))]
    if changed:
        problems.append(f"another label, question or picture: {ids(changed)}")
    own = {sample.sample_id: hash_of(sample) for sample in samples.values()}
    hashed = [h.sample_id for h in run.samples or () if h != own.get(h.sample_id)]
    if hashed:
        problems.append(f"other hashes of samples: {some(hashed)}")
    if problems:
        return Status.FAILED, "; ".join(problems)
    return Status.OK, f"the samples are the {len(samples)} of {benchmark.name}"


def _protocols(benchmark: Benchmark) -> set[str]:
    own = benchmark.protocol
    variants = [own, own.with_picture_last()]
    variants += [protocol.with_thoughts_judged() for protocol in variants]
    return {protocol.fingerprint for protocol in variants}


def _keys(verdict: Any) -> tuple[object, ...]:
    scenario = verdict.scenario and (verdict.scenario.id, verdict.scenario.is_privacy)
    return (
        verdict.benchmark_id,
        verdict.label,
        verdict.is_privacy,
        scenario,
        verdict.question_id,
        verdict.image_path,
    )


def check_figures(run: BundledRun, where: str) -> Found:
    """Compute every figure again from the verdicts."""
    claimed = run.figures
    if not run.judged:
        return Status.FAILED, f"no sample was asked: every row says {NOT_ASKED!r}"
    try:
        table = table_of(run.judged, claimed.absolute_labels, where)
        again = compute_figures(
            table,
            resamples=claimed.resamples,
            seed=claimed.seed,
            level=claimed.level,
        )
    except SpyBenchError as error:
        return Status.FAILED, str(error)
    apart = sorted(_apart(claimed.model_dump(), again.model_dump(), ""))
    if apart:
        return Status.FAILED, f"the verdicts give other figures: {some(apart)}"
    return Status.OK, f"every figure follows from the verdicts ({_privacy(table)})"


def _privacy(table: VerdictTable) -> str:
    """Return the privacy score, and what it could be if the missing verdicts were known."""
    score, (worst, best) = point_scores(table)[PRIVACY], bounds(table)[PRIVACY]
    if score == "N/A":
        return f"{PRIVACY} N/A"
    words = f"{PRIVACY} {rounded(score)}"
    if score == worst == best or worst == "N/A" or best == "N/A":
        return words
    return f"{words}; {rounded(worst)} to {rounded(best)} for any missing verdicts"


def _apart(claimed: Any, found: Any, name: str) -> Iterator[str]:
    """Yield the names of what differs."""
    if isinstance(claimed, dict) and isinstance(found, dict):
        for key in {**claimed, **found}:
            yield from _apart(claimed.get(key), found.get(key), f"{name} {key}".strip())
    elif isinstance(claimed, float) and isinstance(found, float):
        if not abs(claimed - found) <= _CLOSE:
            yield f"{name} ({claimed:.2f}, found {found:.2f})"
    elif claimed != found:
        yield name
