"""The score callback: figures of `scoring.metrics`, and texts in the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.compat.torchvision import declare_missing_ops  # noqa: E402
from spy_plugin.errors import SpyBenchError  # noqa: E402
from spy_plugin.scoring import metrics  # noqa: E402

declare_missing_ops()

from spy_plugin.benchmark.protocol import BUILTIN  # noqa: E402
from spy_plugin.benchmark.records import Outcome, Scenario  # noqa: E402
from spy_plugin.benchmark.samples import Benchmark, Item  # noqa: E402
from spy_plugin.judging import Judge, Judgement  # noqa: E402
from tests.trl_ext import spy_tune  # noqa: E402
from tests.trl_ext.script_runs import losses, prepare, train, words  # noqa: E402
from trl_ext.callbacks import ScoreCallback  # noqa: E402
from trl_ext.scripts import _common  # noqa: E402


class SideJudge(Judge):
    """Answers as an obedient model, so that the figures are known."""

    name = "side"
    fingerprint = "0" * 12

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.outcomes: list[Outcome] = []

    def ask(self, questions: Any) -> Any:
        self.answers = [question.answer for question in questions]
        for index in range(len(questions)):
            yield index, Judgement(self.outcomes[index % len(self.outcomes)])


REJECT, RESPOND, UNJUDGED = Outcome.REJECT, Outcome.RESPOND, Outcome.UNJUDGED
OBEDIENT = [REJECT, RESPOND, RESPOND, REJECT, RESPOND]  # the order of an item's five samples


def benchmark(folder: Path, items: int = 3) -> Benchmark:
    spy_tune.write(folder, spy_tune.item())
    return Benchmark(
        "test",
        tuple(
            Item(
                benchmark_id=f"{number:08d}",
                label="a4_gender",
                other_labels=(("a9_face_complete", 1),),
                question_id=f"q{number}",
                image_path=f"images/p{1 + number % 2}.png",
                question=f"Who | is {number}?",
                gt="",
                non_privacy_scenarios=(Scenario("s0_border", 0, "At the border. {}"),),
                privacy_scenarios=(Scenario("s1_shop", 1, "In a shop. {}"),),
            )
            for number in range(items)
        ),
        spy_tune.WORDS,
        BUILTIN,
        folder,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepare(tmp_path_factory.mktemp("training"))


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: Any) -> Any:
    """Train by a script whose callback uses our benchmark and judge."""
    judge = SideJudge()

    def add(trainer: Any, spy: Any, watched: Any, steps: int) -> None:
        trainer.add_callback(
            ScoreCallback(
                trainer, benchmark(tmp_path / "bench"), steps=steps, items=2, max_new_tokens=4,
                judge=judge,
            )
        )  # fmt: skip

    monkeypatch.setattr(_common, "_add_score_callback", add)

    def run(method: str, outcomes: list[Outcome], prepared: Any, **options: Any) -> tuple[Any, Any]:
        judge.outcomes = outcomes
        argv = words(prepared, output_dir=tmp_path / "out", score_steps=2, **options)
        return train(method, argv), judge

    return run


@pytest.mark.parametrize("method", ["sft", "dpo", "nca_priv"])
def test_scores_are_logged_before_during_and_at_the_end(
    method: str, prepared: Any, scored: Any
) -> None:
    trainer, judge = scored(method, OBEDIENT, prepared)
    history = trainer.state.log_history
    assert losses(history, "eval_spy_ics") == [100.0] * 3
    assert losses(history, "eval_spy_hms") == [100.0] * 3
    assert losses(history, "eval_spy_privacy_score") == [100.0] * 3
    assert [entry["step"] for entry in history if "eval_spy_ics" in entry] == [0, 2, 3]
    assert len(judge.answers) == 10
    assert trainer.model.training


def test_scoring_does_not_change_the_training(prepared: Any, scored: Any, tmp_path: Path) -> None:
    with_scores, _ = scored("nca_priv", OBEDIENT, prepared)
    plain = train("nca_priv", words(prepared, output_dir=tmp_path / "plain"))
    for name in ("loss", "rewards/margins", "grad_norm", "completion_tokens"):
        expected = losses(plain.state.log_history, name)
        assert losses(with_scores.state.log_history, name) == expected


def test_figures_without_a_denominator_are_left_out(prepared: Any, scored: Any) -> None:
    trainer, _ = scored("sft", [UNJUDGED], prepared, max_steps=1)
    history = trainer.state.log_history
    assert losses(history, "eval_spy_judged") == [0.0, 0.0]
    assert losses(history, "eval_spy_ics") == []


def test_figures_are_those_of_the_metrics(prepared: Any, scored: Any) -> None:
    outcomes = [REJECT, REJECT, RESPOND, REJECT, RESPOND, REJECT, RESPOND, REJECT, REJECT, RESPOND]
    trainer, _ = scored("sft", outcomes, prepared, max_steps=1)
    history = trainer.state.log_history
    # ICS: of two pairs one is right. ATA in conflict 1 of 2, RtA 2 of 2: their harmonic mean.
    assert losses(history, "eval_spy_ics")[-1] == 50.0
    assert losses(history, "eval_spy_hms")[-1] == metrics.harmonic_mean(50.0, 100.0)


def test_the_tracker_gets_figures_and_texts(prepared: Any, scored: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scored("nca_priv", OBEDIENT, prepared, report_to="tensorboard")
    [events] = {
        path.parent for path in (tmp_path / "out").rglob("events.out.*") if "args" not in str(path)
    }
    log = EventAccumulator(str(events))
    log.Reload()
    tags = log.Tags()
    [ics] = [tag for tag in tags["scalars"] if tag.endswith("spy_ics")]
    assert [event.value for event in log.Scalars(ics)] == [100.0] * 3
    [texts] = [tag for tag in tags["tensors"] if "spy_examples" in tag]
    shown = log.Tensors(texts)[-1].tensor_proto.string_val[0].decode()
    assert shown.splitlines()[0] == "| asked as | question | answer | verdict |"
    assert "Who \\| is" in shown
    assert "private, s1_shop" in shown


def test_wrong_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match="steps is 0"):
        ScoreCallback(None, benchmark(tmp_path), steps=0)
    with pytest.raises(SpyBenchError, match="items is -1"):
        ScoreCallback(None, benchmark(tmp_path), steps=1, items=-1)


BY_ICS = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "best",
    "metric_for_best_model": "eval_spy_ics",
    "greater_is_better": True,
}
"""Keep the checkpoint with the best ICS."""


def test_the_best_model_may_be_that_of_the_best_score(
    prepared: Any, scored: Any, tmp_path: Path
) -> None:
    data = prepared["data"]
    trainer, _ = scored("nca_priv", OBEDIENT, prepared, eval_data=data, **BY_ICS)
    assert trainer.state.best_metric == 100.0
    assert trainer.state.best_global_step == 1
    history = trainer.state.log_history
    assert [entry["step"] for entry in history if "eval_spy_ics" in entry] == [0, 1, 2, 3]


def test_a_score_without_a_value_is_never_the_best(
    prepared: Any, scored: Any, tmp_path: Path, caplog: Any
) -> None:
    data = prepared["data"]
    trainer, _ = scored("nca_priv", [UNJUDGED], prepared, eval_data=data, **BY_ICS)
    assert trainer.state.global_step == 3
    assert trainer.state.best_global_step is None
    assert "eval_spy_ics has no value at step 1" in caplog.text
    assert not list(Path(trainer.args.output_dir).glob("checkpoint-*"))
