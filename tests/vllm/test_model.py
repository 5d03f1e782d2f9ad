"""`VLLMModel` on a real engine."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.files.text import storable
from spy_plugin.models.base import Conversation, Decoding, ModelSetupError, Reply

from .conftest import ENGINE_ARGS, TOKENS

if TYPE_CHECKING:
    from spy_plugin.models.vllm_model import VLLMModel

pytestmark = pytest.mark.vllm


def by_id(replies: Iterable[Reply]) -> dict[str, Reply]:
    found: dict[str, Reply] = {}
    for reply in replies:
        assert reply.key not in found
        found[reply.key] = reply
    return found


def test_answers_are_those_of_transformers(
    backend: VLLMModel, conversations: list[Conversation], model: Path
) -> None:
    expected = greedy(model, conversations)
    found = by_id(backend.ask(conversations))
    assert set(found) == set(expected)
    for sample_id, (text, input_tokens) in expected.items():
        assert found[sample_id].outcome is None, found[sample_id].error
        assert found[sample_id].input_tokens == input_tokens
        # vLLM drops an incomplete character at the end.
        assert found[sample_id].text.rstrip("\ufffd") == storable(text).rstrip("\ufffd"), sample_id
    assert len({text for text, _ in expected.values()}) > len(expected) // 2


def greedy(model: Path, conversations: list[Conversation]) -> dict[str, tuple[str, int]]:
    """Texts and prompt token counts by transformers, one conversation at a time."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, Qwen2VLForConditionalGeneration

    processor = AutoProcessor.from_pretrained(model)
    network = Qwen2VLForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    expected = {}
    for talk in conversations:
        parts = [{"type": "image"}, {"type": "text", "text": talk.turns[0]}]
        messages = [{"role": "user", "content": parts if talk.image_first else parts[::-1]}]
        for number, turn in enumerate(talk.turns[1:], 1):
            messages.append({"role": "assistant" if number % 2 else "user", "content": turn})
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        with Image.open(talk.image) as picture:
            inputs = processor(text=[prompt], images=[picture], return_tensors="pt")
        with torch.no_grad():
            out = network.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)
        length = inputs["input_ids"].shape[1]
        text = processor.tokenizer.decode(out[0, length:], skip_special_tokens=True)
        expected[talk.key] = (text, length)
    return expected


def test_answers_do_not_depend_on_the_order(
    backend: VLLMModel, conversations: list[Conversation]
) -> None:
    mixed = conversations.copy()
    random.Random(1).shuffle(mixed)
    first = {key: reply.text for key, reply in by_id(backend.ask(conversations)).items()}
    again = {key: reply.text for key, reply in by_id(backend.ask(mixed)).items()}
    assert again == first


def test_a_pictures_prompts_share_their_prefix(backend: VLLMModel, pictures: list[Path]) -> None:
    backend.engine.llm.reset_prefix_cache()
    before = prefix_hits(backend)
    text = "Which of these is it? "
    talks = [Conversation(str(n), pictures[0], (text + "abcdef"[n] * 3,)) for n in range(6)]
    replies = by_id(backend.ask(talks))
    shared = prefix_hits(backend) - before
    assert shared >= 5 * 32  # each prompt after the first finds at least one cached block
    assert shared < sum(reply.input_tokens for reply in replies.values())


def prefix_hits(backend: VLLMModel) -> int:
    metrics = {metric.name: metric for metric in backend.engine.llm.get_metrics()}
    return int(metrics["vllm:prefix_cache_hits"].value)


def test_a_broken_picture_or_a_long_prompt_fails_alone(
    backend: VLLMModel, pictures: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes(pictures[0].read_bytes()[:3000])
    talks = [
        Conversation("fine", pictures[0], ("Which?",)),
        Conversation("broken", broken, ("Which?",)),
        Conversation("cut", cut, ("Which?",)),
        Conversation("missing", tmp_path / "none.png", ("Which?",)),
        Conversation("long", pictures[1], ("word " * 3000,)),
        Conversation("fine too", pictures[1], ("Which?",)),
    ]
    found = by_id(backend.ask(talks))
    failed = {key for key, reply in found.items() if reply.outcome is Outcome.FAILED}
    assert failed == {"broken", "cut", "missing", "long"}
    assert all(found[key].error and not found[key].text for key in failed)
    assert "2048" in found["long"].error
    assert found["fine"].text
    assert found["fine too"].text


def test_conversations_are_drawn_as_there_is_room(backend: VLLMModel, pictures: list[Path]) -> None:
    drawn = 0

    def many() -> Iterator[Conversation]:
        nonlocal drawn
        for number in range(300):
            drawn += 1
            yield Conversation(str(number), pictures[number // 2 % 4], (f"Number {number}?",))

    replies = backend.ask(many())
    next(replies)
    assert drawn < 100
    assert len(list(replies)) == 299


def test_whoever_stops_early_leaves_nothing_running(
    backend: VLLMModel, conversations: list[Conversation]
) -> None:
    replies = backend.ask(conversations)
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert backend.engine.llm.llm_engine.get_num_unfinished_requests() == 0
    assert len(by_id(backend.ask(conversations))) == len(conversations)


def test_a_model_that_cannot_be_loaded_says_so(
    tmp_path: Path, conversations: list[Conversation]
) -> None:
    from spy_plugin.models.vllm_model import VLLMModel

    broken = VLLMModel(str(tmp_path), Decoding())
    assert not list(broken.ask([]))  # nothing to do, so nothing is loaded
    with pytest.raises(ModelSetupError, match="vLLM cannot load"):
        next(iter(broken.ask(conversations)))
    broken.close()


def test_settings_name_what_may_change_an_answer(backend: VLLMModel) -> None:
    assert backend.settings == {
        key: value for key, value in ENGINE_ARGS.items() if key in ("dtype", "max_model_len")
    }
