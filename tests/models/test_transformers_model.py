"""Checkpoints run by our own code: by name, in batches, with the errors that users meet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError, SpyBenchError
from spy_plugin.judging import Question, build_judge
from spy_plugin.models import packaged
from spy_plugin.models import tiny_random as tiny
from spy_plugin.models.base import Conversation, Decoding, ModelSetupError, Reply
from spy_plugin.models.build import build_model
from spy_plugin.models.checkpoint import BATCH_SIZE_VARIABLE, Checkpoint
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.packaged import PACKAGED, PackagedModel
from spy_plugin.models.transformers_model import TransformersModel

pytest.importorskip("transformers")


def chat(number: int) -> list[dict[str, Any]]:
    picture = Image.new("RGB", (112, 112), (40 * number, 90, 200))
    parts = [
        {"type": "image", "image": picture},
        {"type": "text", "text": "read the phone. " * (number + 1)},
    ]
    return [{"role": "user", "content": parts}]


def test_our_models_are_the_random_one_and_the_labs() -> None:
    assert tuple(PACKAGED) == (tiny.NAME, *packaged.NAMES)


def test_a_batch_says_what_each_would_say_alone() -> None:
    model = Checkpoint(tiny.NAME, device="cpu")
    chats = [chat(number) for number in range(5)]
    together = model.generate(chats)
    assert together == [model.generate([each])[0] for each in chats]
    assert len(set(together)) > 1
    shorter = model.generate(chats, 2)
    for short, text in zip(shorter, together, strict=True):
        assert text.startswith(short)
        assert len(short) < len(text)


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model = Checkpoint(tiny.NAME, device="cpu")
    chats = [chat(number) for number in range(5)]
    expected = model.generate(chats)
    whole = model._complete_once

    def small(batch: Any, limit: int) -> Any:
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        return whole(batch, limit)

    monkeypatch.setattr(model, "_complete_once", small)
    assert model.generate(chats) == expected
    assert model.batch_size <= 2


def test_the_batch_size_is_the_users_then_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BATCH_SIZE_VARIABLE, raising=False)
    assert Checkpoint(tiny.NAME).batch_size == 32
    assert Checkpoint(str(tiny.build())).batch_size == 8
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "3")
    assert Checkpoint(tiny.NAME).batch_size == 3
    assert Checkpoint(tiny.NAME, batch_size=4).batch_size == 4
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "none")
    with pytest.raises(SpyBenchError, match="Set it to a whole number"):
        Checkpoint(tiny.NAME)


def test_weights_that_are_not_there_are_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = {"spy-tiny-base": PackagedModel(lambda: tmp_path / "none", 24)}
    monkeypatch.setattr(packaged, "PACKAGED", models)
    with pytest.raises(SpyBenchError, match=r"weights of spy-tiny-base are not in .*pip install"):
        Checkpoint("spy-tiny-base")


@pytest.mark.parametrize("name", packaged.NAMES)
def test_the_labs_models_answer_in_words(name: str) -> None:
    if not (packaged.folder(name) / "config.json").is_file():
        pytest.skip(f"the weights of {name} are not built")
    (text,) = Checkpoint(name, device="cpu").generate([chat(0)])
    assert text.endswith(".")


@pytest.fixture
def talks(pictures: Path) -> list[Conversation]:
    """Three questions about each of two pictures, one of them after a turn."""
    turns = [("Which number?",), ("Which name, please?",), ("One?", "a", "Two?")]
    return [
        Conversation(f"{number}/{place}", pictures / f"{number}.png", said, image_first=place != 1)
        for number in range(2)
        for place, said in enumerate(turns)
    ]


def by_key(model: TransformersModel, talks: list[Conversation]) -> dict[str, Reply]:
    replies = list(model.ask(talks))
    assert len(replies) == len({reply.key for reply in replies}) == len(talks)
    return {reply.key: reply for reply in replies}


def test_every_conversation_gets_the_answer_it_would_get_alone(talks: list[Conversation]) -> None:
    with TransformersModel(tiny.NAME, Decoding(), ModelOptions(batch_size=4)) as model:
        found = by_key(model, talks)
        alone = [next(model.ask([talk])) for talk in talks]
    assert found == {reply.key: reply for reply in alone}
    assert len({reply.text for reply in alone}) > 1
    for reply in alone:
        assert (reply.outcome, reply.finish_reason) == (None, "stop")
        assert 0 < reply.output_tokens < 2 * tiny.LONGEST_ANSWER
    # The picture's tokens are counted, and the earlier turns'.
    assert found["0/2"].input_tokens > found["0/0"].input_tokens > 9


def test_a_tiny_model_answers_the_same_by_its_name_and_from_a_copy_of_its_folder(
    talks: list[Conversation], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny.build(), copy)
    found = []
    for name in (tiny.NAME, str(copy)):
        with TransformersModel(name, Decoding()) as model:
            found.append([(reply.text, reply.output_tokens) for reply in model.ask(talks)])
    assert found[0] == found[1]


def test_a_broken_picture_fails_alone(talks: list[Conversation], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no")
    with TransformersModel(tiny.NAME, Decoding(), ModelOptions(batch_size=8)) as model:
        mixed = [talks[0], Conversation("broken", broken, ("q",)), talks[1]]
        found = by_key(model, mixed)
        assert found["broken"].outcome is Outcome.FAILED
        assert "Error" in found["broken"].error
        assert [found[talk.key] for talk in talks[:2]] == [*by_key(model, talks[:2]).values()]


def test_a_chat_that_cannot_be_encoded_fails_alone(
    talks: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    with TransformersModel(tiny.NAME, Decoding(), ModelOptions(batch_size=8)) as model:
        whole = model.checkpoint._encode

        def encode(chats: Any) -> Any:
            if any("Which name" in str(chat) for chat in chats):
                raise ValueError("absolute aspect ratio must be smaller than 200")
            return whole(chats)

        monkeypatch.setattr(model.checkpoint, "_encode", encode)
        found = by_key(model, talks)
    failed = {key for key, reply in found.items() if reply.outcome is Outcome.FAILED}
    assert failed == {"0/1", "1/1"}
    assert "aspect ratio" in found["0/1"].error


def test_nothing_is_loaded_until_something_is_asked(
    monkeypatch: pytest.MonkeyPatch, talks: list[Conversation]
) -> None:
    loaded: list[str] = []
    original = Checkpoint.__init__

    def load(self: Checkpoint, name: str, **options: Any) -> None:
        loaded.append(name)
        original(self, name, **options)

    monkeypatch.setattr(Checkpoint, "__init__", load)
    with TransformersModel(tiny.NAME, Decoding()) as model:
        assert not list(model.ask([]))
        assert loaded == []
        by_key(model, talks)
        by_key(model, talks)
        assert loaded == [tiny.NAME]


def test_a_model_that_cannot_be_loaded_says_so(tmp_path: Path, talks: list[Conversation]) -> None:
    with (
        TransformersModel(str(tmp_path), Decoding()) as model,
        pytest.raises(ModelSetupError, match="transformers cannot load"),
    ):
        list(model.ask(talks))


def test_what_transformers_cannot_do_is_refused_before_anything_is_loaded() -> None:
    for decoding in (Decoding(max_tokens=None), Decoding(0.5)):
        with pytest.raises(ModelSetupError, match=r"greedily, with a limit .*or use vllm"):
            TransformersModel(tiny.NAME, decoding)
    with pytest.raises(JudgeSetupError, match="Leave out --temperature and --structured"):
        build_judge("transformers:m", BUILTIN, ModelOptions(structured="choice"))


def test_a_name_of_the_registry_becomes_its_weights() -> None:
    options = ModelOptions(engine_args={"dtype": "float32", "device": "cpu"}, batch_size=3)
    model = build_model("transformers", "Qwen2-VL-7B", options)
    assert model.model == "Qwen/Qwen2-VL-7B-Instruct"
    # Where it runs is not part of what answers.
    assert model.settings == {"dtype": "float32"}
    with pytest.raises(ModelSetupError, match="Use --backend openai"):
        build_model("transformers", "GPT-4o")


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random causal language model with a chat template."""
    from spy_plugin.models.tiny_random import chat_template, train_tokenizer

    tokenizer = train_tokenizer(["respond or reject, one word"], 300)
    tokenizer.chat_template = chat_template("")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
        network = LlamaForCausalLM(config)
    folder = tmp_path_factory.mktemp("text") / "small-llama"
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_text_model_judges(text_model: Path) -> None:
    questions = [Question("a", "a", "Which number?", f"It is {n}.") for n in range(3)]
    with build_judge(f"transformers:{text_model}", BUILTIN, cache=None) as judge:
        assert judge.name == f"transformers:{text_model}"
        found = dict(judge.ask(questions))
    assert sorted(found) == [0, 1, 2]
    # It says nothing of sense, which is not a failure.
    assert {judgement.outcome for judgement in found.values()} <= {
        Outcome.UNJUDGED,
        Outcome.RESPOND,
        Outcome.REJECT,
    }


def test_a_text_model_takes_no_pictures(text_model: Path, talks: list[Conversation]) -> None:
    with TransformersModel(str(text_model), Decoding(max_tokens=4)) as model:
        (reply,) = model.ask(talks[:1])
    assert reply.outcome is Outcome.FAILED
    assert "takes no pictures" in reply.error
