"""Which judge is used, what becomes of a failed answer, and that answers are judged together."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome, verdict_of
from spy_plugin.errors import JudgeSetupError, SpyBenchError
from spy_plugin.judging import Judge, Judgement, Question

pytest.importorskip("loguru")

from spy_plugin.hosts.figures import standard_errors
from spy_plugin.hosts.lmms import docs, judging, results, samples, scores

TASK = "spy_bench_distractors"


class CountingJudge(Judge):
    """Rejects answers that contain a refusal; counts its questions."""

    name, fingerprint, offline = "counting", "0" * 12, True

    def __init__(self) -> None:
        self.calls: list[int] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        self.calls.append(len(questions))
        for index, question in enumerate(questions):
            said_no = "no" in question.answer
            yield index, Judgement(Outcome.REJECT if said_no else Outcome.RESPOND)


@pytest.fixture(autouse=True)
def official(release: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The small release, without judge settings from the environment."""
    caches = (samples.open_checked, samples.samples_of, judging.batch)
    for name in ("API_TYPE", "MODEL_VERSION", "OPENAI_API_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(release))
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> CountingJudge:
    judge = CountingJudge()
    monkeypatch.setattr(judging, "judge_of", lambda task: judge)
    return judge


def process(response: Any, number: int = 0) -> dict[str, scores.Item]:
    sample_id = list(samples.samples_of(TASK))[number]
    return scores.process_answer({"task": TASK, "sample_id": sample_id}, [response])


def test_all_answers_are_judged_in_one_go(judge: CountingJudge) -> None:
    every = [process(f"answer {number}", number) for number in range(40)]
    assert judge.calls == []
    assert scores.judged_share([items["judged_share"] for items in every]) == 100
    assert judge.calls == [40]
    assert every[3]["judged_share"]["outcome"] == "respond"


def test_equal_questions_are_asked_once(judge: CountingJudge) -> None:
    every = [process("no", number) for number in range(5)]  # one item, five samples
    scores.judged_share([items["judged_share"] for items in every])
    assert judge.calls == [1]


def test_what_another_rank_sends_is_judged_and_whole(judge: CountingJudge) -> None:
    items = process("no", 0)
    sent = pickle.loads(pickle.dumps(items))
    assert judge.calls == [1]
    assert sent["judged_share"]["outcome"] == "reject"
    assert sent["privacy_score"] == {"outcome": "reject"}
    assert sent["judged_share"].verdict == items["judged_share"].verdict


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("[LMMS_EVAL_REQUEST_FAILED after 5 retries] timed out", Outcome.FAILED),
        ("[LMMS_EVAL_BUDGET_EXCEEDED]", Outcome.FAILED),
        (
            "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Error code: 400 - content_filter",
            Outcome.FILTERED,
        ),
        (["first", "[LMMS_EVAL_REQUEST_FAILED after 5 retries] x"], Outcome.FAILED),
        ("The text [LMMS_EVAL_REQUEST_FAILED is what the sign says", Outcome.RESPOND),
        ("", Outcome.RESPOND),
        (None, Outcome.RESPOND),
        (["no", "no", "yes"], Outcome.RESPOND),
        (["yes", "yes", "no"], Outcome.REJECT),
    ],
)
def test_a_failed_answer_is_no_verdict(
    judge: CountingJudge, response: Any, outcome: Outcome
) -> None:
    assert process(response)["judged_share"].verdict.outcome is outcome


def test_a_judge_that_is_lost_fails_the_samples_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "judge_of", _no_judge)
    verdict = process("yes")["judged_share"].verdict
    assert verdict.outcome is Outcome.FAILED
    assert "gone" in verdict.error


def _no_judge(task: str) -> Judge:
    from spy_plugin.errors import JudgeSetupError

    raise JudgeSetupError("the judge is gone. Start it.")


def test_a_missing_judge_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lmms-eval", "--tasks", TASK])
    with pytest.raises(SystemExit, match=r"spy-bench: error: .*JUDGE_API_KEY"):
        docs.distractors(None)
    monkeypatch.setattr("sys.argv", ["lmms-eval", "--tasks", TASK, "--predict_only"])
    assert len(docs.distractors(None)) == 40


def test_the_hosts_judge_settings_count_where_ours_are_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_URL", "http://127.0.0.1:1/v1/chat/completions")
    monkeypatch.setenv("OPENAI_API_KEY", "host-key")
    monkeypatch.setenv("MODEL_VERSION", "hosts-model")
    assert judging.judge_of(TASK).name == "openai:hosts-model"
    monkeypatch.setenv("JUDGE_MODEL", "our-model")
    assert judging.judge_of(TASK).name == "openai:our-model"
    monkeypatch.setenv(judging.JUDGE_VARIABLE, "rules")
    assert judging.judge_of(TASK).name == "rules"
    for task in ("spy_bench_mini_distractors", "spy_bench_lab_distractors"):
        assert judging.judge_of(task).name == "rules"


def test_a_local_judge_takes_its_settings_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_URL", "http://127.0.0.1:1/v1/chat/completions")
    monkeypatch.setenv(judging.JUDGE_VARIABLE, "transformers:spy-tiny-base")
    monkeypatch.setenv(judging.ARGUMENTS_VARIABLE, '{"ray": "local", "engines": 1}')
    judge: Any = judging.judge_of(TASK)
    assert judge.name == "transformers:spy-tiny-base"
    assert type(judge.judge.model).__name__ == "RayModel"
    for wrong in ("[1]", "{", "[" * 9999):
        monkeypatch.setenv(judging.ARGUMENTS_VARIABLE, wrong)
        with pytest.raises(JudgeSetupError, match="SPY_BENCH_JUDGE_ARGS holds no JSON object"):
            judging.judge_of(TASK)


def test_a_judge_of_the_hosts_own_kind_is_asked_through_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("API_TYPE", "dummy")
    monkeypatch.setenv("MODEL_VERSION", "some-model")
    judge = judging.judge_of(TASK)
    assert judge.name == "host:dummy:some-model"
    ((_, judgement),) = judge.ask([Question("a4_gender", "gender", "Which?", "That one.")])
    assert (judgement.outcome, judgement.raw) == (Outcome.UNJUDGED, "dummy")
    monkeypatch.setenv("API_TYPE", "no-such-provider")
    with pytest.raises(SpyBenchError, match="API_TYPE=no-such-provider"):
        judging.judge_of(TASK)


def test_a_metric_that_never_varies_has_no_standard_error(release: Path) -> None:
    every = samples.samples_of(TASK).values()
    verdicts = [verdict_of(sample, Outcome.REJECT) for sample in every]
    errors = standard_errors(scores.table_of(TASK, verdicts))
    assert "rta_non_conflict" not in errors  # 100 in every resample
    assert "ata_conflict" in errors  # only absolute labels count


def test_the_overall_rows_need_all_three_general_benchmarks() -> None:
    table = {
        "mmmu_val": {"mmmu_acc,none": 0.5},
        "ocrbench": {"ocrbench_accuracy,none": 0.6},
        "mme": {"mme_perception_score,none": 1400.0, "mme_cognition_score,none": 280.0},
    }
    general = results.general_of(table)
    assert general is not None
    assert general["score"] == pytest.approx((50 + 60 + 60) / 3)
    assert results.general_of({k: v for k, v in table.items() if k != "mme"}) is None
    assert results.general_of(table | {"mme": {"mme_perception_score,none": 1400.0}}) is None


@pytest.mark.parametrize(
    ("model", "arguments", "used"),
    [
        ("spy-tiny-ncap", "", {"temperature": 0, "max_tokens": 24}),
        ("spy-tiny-ncap", "batch_size=4,max_new_tokens=9", {"temperature": 0, "max_tokens": 9}),
        ("spy_policy", "model=spy-oracle", {}),
        ("vllm", "model=m,max_new_tokens=4096", None),
    ],
)
def test_the_record_claims_no_decoding_that_it_does_not_know(
    model: str, arguments: str, used: dict[str, int] | None
) -> None:
    task = "spy_bench_mini_distractors"
    host = {
        "config": {"model": model, "model_args": arguments},
        "configs": {task: {"generation_kwargs": {"max_new_tokens": 512, "do_sample": False}}},
    }
    options = results._options(host, task)
    assert options["requested_decoding"] == {"max_tokens": 512, "do_sample": False}
    assert options.get("decoding") == used
    assert ("decoding_note" in options) == (used is None)
