"""Questions of single samples reach the judge in bulk; what a model gave is a named outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question
from tests.conftest import needs

pytestmark = [pytest.mark.inspect, needs("inspect_ai")]


class SlowJudge(Judge):
    """Notes how many questions came together."""

    name, fingerprint = "slow", "0"

    def __init__(self) -> None:
        self.groups: list[int] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        import time

        time.sleep(0.05)
        self.groups.append(len(questions))
        for index, question in enumerate(questions):
            if question.answer == "stop":
                raise JudgeSetupError("the key is wrong")
            yield index, Judgement(Outcome.REJECT, raw=question.answer)


def ask(judge: Judge, answers: Sequence[str]) -> list[Judgement]:
    import anyio

    from spy_plugin.hosts.inspect.judging import BulkJudge

    found: dict[int, Judgement] = {}

    async def run() -> None:
        bulk = BulkJudge(judge)

        async def one(number: int, answer: str) -> None:
            found[number] = await bulk.ask(Question("a", "a", "q", answer))

        async with anyio.create_task_group() as group:
            for number, answer in enumerate(answers):
                group.start_soon(one, number, answer)

    anyio.run(run)
    return [found[number] for number in range(len(answers))]


def test_what_comes_while_the_judge_is_busy_is_asked_in_one_call_and_once() -> None:
    judge = SlowJudge()
    found = ask(judge, [f"answer {number % 10}" for number in range(40)])
    assert [judgement.raw for judgement in found] == [f"answer {n % 10}" for n in range(40)]
    assert judge.groups in ([1, 10], [10], [1, 9], [1, 10, 1])


def test_a_judge_that_cannot_be_asked_fails_the_sample_and_keeps_the_others() -> None:
    found = ask(SlowJudge(), ["a", "stop", "b"])
    assert [judgement.outcome for judgement in found][:1] == [Outcome.REJECT]
    assert (found[1].outcome, found[1].error) == (Outcome.FAILED, "the key is wrong")


@pytest.mark.parametrize(
    ("reason", "text", "outcome"),
    [
        ("stop", "Blue.", None),
        ("stop", "", None),
        ("max_tokens", "Bl", None),
        ("max_tokens", " ", Outcome.FAILED),
        ("stop", "<think>hm</think>", Outcome.FAILED),
        ("content_filter", "no", Outcome.FILTERED),
        ("model_length", "x", Outcome.FAILED),
        ("tool_calls", "x", Outcome.FAILED),
        ("unknown", "x", Outcome.FAILED),
    ],
)
def test_only_a_finished_answer_is_an_answer(
    reason: str, text: str, outcome: Outcome | None
) -> None:
    from inspect_ai.model import ModelOutput

    from spy_plugin.hosts.inspect.answers import read_answer

    output = ModelOutput.from_content("m", text, stop_reason=reason)
    assert read_answer("s", output).outcome is outcome


def test_no_output_has_failed() -> None:
    from inspect_ai.model import ModelOutput

    from spy_plugin.hosts.inspect.answers import read_answer

    assert read_answer("s", ModelOutput()).outcome is Outcome.FAILED
