"""Engines on a cluster answer each conversation once, whatever dies."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.ray_check import check_ray
from spy_plugin.models.base import Conversation, Model, ModelSetupError, Reply
from spy_plugin.models.build import build_model
from spy_plugin.models.on_ray import nodes
from spy_plugin.models.on_ray.model import RayModel, _Streak
from spy_plugin.models.options import ModelOptions
from tests.conftest import needs

from .conftest import NODE, running
from .fake_engine import FakeEngine, said

pytestmark = needs("ray")

Make = Callable[..., FakeEngine]


def on(cluster: Any, model: Model, engines: int | None = None) -> RayModel:
    return RayModel(model, cluster.address, engines, {})


def check(replies: list[Reply], talks: list[Conversation], failed: str = "") -> None:
    """Each was answered once, with what was said to it; those of one picture have failed."""
    assert sorted(reply.key for reply in replies) == sorted(talk.key for talk in talks)
    expected = {talk.key: said(talk) for talk in talks}
    for reply in replies:
        if failed and reply.key.startswith(failed):
            assert reply.outcome is Outcome.FAILED
            assert "died for the second time with this picture" in reply.error
        else:
            assert (reply.outcome, reply.text) == (None, expected[reply.key])


def test_a_node_that_leaves_with_many_engines_is_one_death() -> None:
    from spy_plugin.models.on_ray.fleet import Death

    streak = _Streak()
    for node in ("a", "a", "a", "b", "b"):
        streak.add(Death([], "its node has left the cluster", node))
    with pytest.raises(ModelSetupError, match="3 engines have died"):
        streak.add(Death([], "its process was killed or crashed"))


def gone(folder: Path) -> bool:
    """Whether every engine's process ends within a minute."""
    deadline = time.monotonic() + 60
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(folder)


def test_both_nodes_answer_and_later_turns_reuse_the_engines(
    cluster: Any, engine: Make, talks: list[Conversation], tmp_path: Path
) -> None:
    with on(cluster, engine(delay=0.05)) as model:
        assert model.identity == engine().identity
        check(list(model.ask(talks)), talks)
        pids = running(tmp_path)
        later = [Conversation(t.key, t.image, (*t.turns, "a", "again")) for t in talks]
        check(list(model.ask(later)), later)
        # Those that started late may have come in between.
        assert len(pids) <= 2
        assert model.status()["engines"] == "2"
        assert set(pids) <= set(running(tmp_path))
        texts = [Conversation(str(number), None, (f"judge {number}",)) for number in range(70)]
        check(list(model.ask(texts)), texts)
        list(islice(model.ask(talks), 3))  # the reader stops
        assert gone(tmp_path)


def test_the_status_tells_how_long_engines_load_and_so_do_those_that_replace_others(
    cluster: Any, engine: Make, talks: list[Conversation], tmp_path: Path
) -> None:
    shown: list[str] = []
    with on(cluster, engine(loading=2.5, delay=0.3), engines=2) as model:
        assert model.status() == {}

        def look() -> None:
            while not shown or shown[-1] != "end":
                now = str(model.status().get("engines", ""))
                if now not in shown[-1:]:
                    shown.append(now)
                time.sleep(0.05)

        looking = Thread(target=look, daemon=True)
        looking.start()
        replies, killed = [], False
        for reply in model.ask(talks):
            replies.append(reply)
            if not killed and model.status() == {"engines": "2", "lost": 0}:
                os.kill(running(tmp_path)[0], signal.SIGKILL)
                killed = True  # its death is noticed only later
        shown.append("end")
        assert model.status()["lost"] == 1
    check(replies, talks)
    assert [text for text in shown if " " not in text] == ["", "2", "1", "2", "end"]
    loss = shown.index("1")
    for ready, texts in ((0, shown[:loss]), (1, shown[loss:])):
        seconds = [
            int(found[1])
            for text in texts
            if (found := re.fullmatch(rf"{ready} of 2 ready \((\d+) s\)", text))
        ]
        assert seconds[0] < 2 <= seconds[-1]  # a busy machine may not have looked at once
        assert seconds == sorted(seconds)


def test_two_killed_engines_cost_nothing(
    cluster: Any, engine: Make, talks: list[Conversation], tmp_path: Path
) -> None:
    replies = []
    with on(cluster, engine(delay=0.05), engines=2) as model:
        for reply in model.ask(talks):
            replies.append(reply)
            if len(replies) in (3, 12):
                os.kill(running(tmp_path)[0], signal.SIGKILL)
        assert model.status()["lost"] == 2
    check(replies, talks)


def test_a_node_that_leaves_costs_nothing_and_one_that_joins_is_used(
    cluster: Any, engine: Make, talks: list[Conversation], tmp_path: Path
) -> None:
    replies, slow, joined = [], tmp_path / "slow", None
    slow.touch()
    with on(cluster, engine(slow=str(slow))) as model:
        for reply in model.ask(talks):
            replies.append(reply)
            if len(replies) == 1:
                joined = cluster.add_node(**NODE)
            if slow.exists() and len(running(tmp_path)) == 3:
                cluster.remove_node(joined)
                slow.unlink()
    check(replies, talks)
    assert not slow.exists(), "the third node was never used"


def test_an_engine_of_many_gpus_takes_them_on_one_node_or_in_a_placement_group(
    cluster: Any, engine: Make, talks: list[Conversation], tmp_path: Path
) -> None:
    def groups() -> list[Any]:
        from ray.util import placement_group_table

        found = placement_group_table().values()
        return [list(each["bundles"].values()) for each in found if each["state"] == "CREATED"]

    node = cluster.add_node(**{**NODE, "num_cpus": 3, "num_gpus": 3})
    try:
        for arguments, devices, placed in (
            ({"tensor_parallel_size": 2}, "0,1", []),
            ({"pipeline_parallel_size": 2}, "", [[{"GPU": 1.0, "CPU": 1.0}] * 2]),
        ):
            made = engine(delay=0.02)
            made.backend = "vllm"
            with RayModel(made, cluster.address, None, arguments) as model:
                replies = model.ask(talks)
                first = next(replies)
                assert groups() == placed
                check([first, *replies], talks)
                assert model.status() == {"engines": "1", "lost": 0}
                (pid,) = running(tmp_path)
                assert (tmp_path / str(pid)).read_text() == devices
            assert gone(tmp_path)
    finally:
        cluster.remove_node(node)


def test_a_picture_that_kills_engines_fails_alone(
    cluster: Any, engine: Make, talks: list[Conversation]
) -> None:
    with on(cluster, engine(poison="0.png")) as model:
        check(list(model.ask(talks)), talks, failed="0-")
        assert model.status()["lost"] == 2


def test_engines_that_only_die_end_the_run_with_their_last_words(
    cluster: Any, engine: Make, talks: list[Conversation]
) -> None:
    with (
        on(cluster, engine(mortal=True)) as model,
        pytest.raises(ModelSetupError, match=r"3 engines have died.*out of imaginary memory"),
    ):
        list(model.ask(talks))


def test_a_model_that_cannot_be_loaded_says_so_itself(
    cluster: Any, engine: Make, talks: list[Conversation]
) -> None:
    with (
        on(cluster, engine(broken="there are no weights")) as model,
        pytest.raises(ModelSetupError, match=r"^there are no weights$"),
    ):
        list(model.ask(talks))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"engines": 2}, "Add --ray"),
        ({"ray": "ray://head:10001"}, "cannot stream"),
        ({"ray": "auto"}, "^ray://head:10001: Ray Client cannot stream"),
        ({"ray": "loacl"}, "loacl is not the address of a Ray cluster. Use local, auto"),
        ({"ray": "http://head"}, "http://head is not the address"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ModelSetupError, match=problem):
        build_model("transformers", "spy-tiny-base", ModelOptions(**options))


def test_an_engine_larger_than_this_machine_is_refused_at_once(
    cluster: Any, engine: Make, talks: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    # As where vLLM is built for GPUs.
    monkeypatch.setattr("spy_plugin.models.on_ray.cluster._vllm_needs_gpus", lambda: True)
    ray.init(cluster.address, log_to_driver=False)  # `local` stays with it
    made = engine()
    made.backend = "vllm"
    arguments = {"tensor_parallel_size": 8}
    try:
        with (
            RayModel(made, "local", 1, arguments) as model,
            pytest.raises(ModelSetupError) as refused,
        ):
            list(model.ask(talks))
    finally:
        ray.shutdown()
    assert str(refused.value) == (
        "an engine takes 8 GPUs of one node, and no node of the Ray cluster has room for it. Lower "
        "the parallel sizes in --engine-args, or use more GPUs."
    )


@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto"])
def test_an_address_without_a_cluster_says_what_to_do(
    address: str, engine: Make, talks: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with (
        RayModel(engine(), address, 1, {}) as model,
        pytest.raises(ModelSetupError, match=r"no Ray cluster answers.*--ray local"),
    ):
        list(model.ask(talks))


def test_the_doctor_sees_the_cluster_and_compares_this_command_with_it(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    other = nodes.Node("this command", 0, 0, nodes.this_command().versions | {"vllm": "0.1"})
    monkeypatch.setattr(nodes, "this_command", lambda: other)
    found, [(problem, fix)] = check_ray()
    assert found.startswith("cluster of 2 nodes, 0 GPUs, 2 cores; python 3")
    assert problem.startswith("vllm differs: 0.1 on this command; ")
    assert fix == "pip install the same versions on every node"
