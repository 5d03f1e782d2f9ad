"""The small size, with a tiny Llama in place of SmolLM2 (see `test_smollm2` for that)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

import torch

from spy_plugin.embedded.lab.cards import draw
from spy_plugin.embedded.lab.wordings import NATURAL
from spy_plugin.lab import base
from spy_plugin.lab.batches import LessonEncoder
from spy_plugin.lab.recipe import TrainingSetup
from spy_plugin.lab.sizes import SMALL
from spy_plugin.lab.small_model import LLAVA, save_processor
from spy_plugin.lab.small_recipe import NEW_LEARNING_RATE, PRETRAINED_LEARNING_RATE
from spy_plugin.lab.smollm2 import IMAGE
from spy_plugin.models.checkpoint import Checkpoint
from tests.lab.small_models import (
    assert_inputs_are_the_processor_s,
    both_layouts,
    lesson,
    short_recipe,
    stand_in,
)
from tests.trl_ext.rows import assistant, naive_table, paired_rows


@pytest.fixture(scope="module")
def setup() -> TrainingSetup:
    return short_recipe().build(seed=0, device="cpu")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoProcessor

    folder = tmp_path_factory.mktemp("processor")
    save_processor(stand_in()[1], folder)
    return AutoProcessor.from_pretrained(folder)


def test_training_inputs_are_what_the_processor_makes(tmp_path: Path) -> None:
    words = stand_in()[1]
    save_processor(words, tmp_path)
    assert_inputs_are_the_processor_s(LessonEncoder(words, LLAVA), tmp_path)


def test_a_batch_keeps_the_order_of_cards(setup: TrainingSetup) -> None:
    several = [lesson(with_card=True, seed=seed) for seed in (1, 2)]
    pixels = setup.encoder.batch(several)["pixel_values"]
    for one, its_pixels in zip(several, pixels, strict=True):
        assert torch.equal(setup.encoder.batch([one])["pixel_values"][0], its_pixels)


def test_a_completion_ends_with_the_turn_in_the_base_and_in_alignment(
    setup: TrainingSetup, processor: Any
) -> None:
    from trl_ext.nca_priv.nca_priv_trainer import SIDES
    from trl_ext.prefix_sharing.collator import PreferenceCollator
    from trl_ext.prefix_sharing.encoding import SequenceEncoder

    end = setup.encoder.vocabulary["<|im_end|>"]
    told = lesson(with_card=False)
    labels = setup.encoder.batch([told])["labels"][0]
    said = [[*setup.encoder.token_ids(answer), end] for _, answer in told.turns]
    assert labels[labels >= 0].tolist() == [token for each in said for token in each]
    answer = told.turns[0][1]
    row = {**paired_rows(1)[0], "chosen_0": assistant(answer)}
    sequences = PreferenceCollator(SequenceEncoder(processor), SIDES)([row])["sequences"]
    completions = [
        ids[length:].tolist()
        for ids, length in zip(sequences.input_ids, sequences.prompt_lengths, strict=True)
    ]
    assert completions[0] == said[0]
    assert all(each.index(end) == len(each) - 1 for each in completions)


def test_language_weights_are_copied_and_only_one_row_is_added(setup: TrainingSetup) -> None:
    language, words = stand_in()
    taken = setup.model.model.language_model.state_dict()
    pretrained = language.model.state_dict()
    assert taken.keys() == pretrained.keys()
    for name, weights in pretrained.items():
        if name != "embed_tokens.weight":
            assert torch.equal(taken[name], weights), name
    rows, known = taken["embed_tokens.weight"], pretrained["embed_tokens.weight"]
    assert torch.equal(rows[:-1], known)
    assert len(rows) == len(words) == len(known) + 1
    assert words.convert_tokens_to_ids(IMAGE) == len(known)
    assert setup.model.lm_head.weight is setup.model.get_input_embeddings().weight


def test_text_logits_equal_those_of_the_language_model(setup: TrainingSetup) -> None:
    language, words = stand_in()
    ids = torch.tensor([words("what is the phone?")["input_ids"]])
    with torch.no_grad():
        expected = language(input_ids=ids).logits
        told = setup.model(input_ids=ids).logits[..., :-1]
    torch.testing.assert_close(told, expected)


def test_a_seed_gives_the_same_model(setup: TrainingSetup) -> None:
    again, other = (short_recipe().build(seed, "cpu").model.state_dict() for seed in (0, 1))
    first = setup.model.state_dict()
    assert all(torch.equal(again[name], weights) for name, weights in first.items())
    new = [name for name in first if "multi_modal_projector" in name and "weight" in name]
    assert new
    assert not any(torch.equal(other[name], first[name]) for name in new)


def test_new_and_pretrained_parts_have_their_own_learning_rates(setup: TrainingSetup) -> None:
    (optimizer,) = setup.optimizers
    rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    for name, parameter in setup.model.named_parameters():
        pretrained = "language_model" in name
        assert rates.pop(id(parameter)) == (
            PRETRAINED_LEARNING_RATE if pretrained else NEW_LEARNING_RATE
        ), name
    assert not rates


def test_vision_pretraining_leaves_the_language_model_unchanged() -> None:
    recipe = short_recipe()
    setup = recipe.build(0, "cpu")
    before = {name: each.clone() for name, each in setup.model.state_dict().items()}
    assert 0 <= recipe.pretrain_vision(setup, 0) <= 1
    changed = {
        name
        for name, each in setup.model.state_dict().items()
        if not torch.equal(each, before[name])
    }
    assert any("vision_tower" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    assert not any("language_model" in name or "lm_head" in name for name in changed)


def test_a_base_is_written_completely(tmp_path: Path) -> None:
    """The base loads as users load it, with the processor whose inputs it was trained on."""
    from transformers import AutoModelForImageTextToText

    folder = tmp_path / "base"
    told: list[int] = []
    base.train_base(folder, short_recipe(), steps=3, progress=lambda step, _: told.append(step))
    assert told == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert json.loads((folder / "config.json").read_text())["model_type"] == SMALL.model_type
    assert json.loads((folder / base.HISTORY).read_text())[-1]["step"] == 3
    encoder = LessonEncoder(stand_in()[1], LLAVA)
    assert_inputs_are_the_processor_s(encoder, folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert torch.isfinite(model(**encoder.batch([lesson(with_card=True)])).loss)
    assert model.generation_config.eos_token_id == encoder.vocabulary["<|im_end|>"]


def test_a_written_base_answers_in_the_hosts(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    base.train_base(folder, short_recipe(), steps=1)
    shown = lesson(with_card=True).card
    assert shown is not None
    image = {"type": "image", "image": draw(shown)}
    turn = {"role": "user", "content": [image, {"type": "text", "text": "what is the phone?"}]}
    (answer,) = Checkpoint(str(folder), device="cpu").generate([[turn]])
    assert isinstance(answer, str)
    assert "<|" not in answer


def test_the_prefix_tree_equals_the_plain_batch(setup: TrainingSetup, processor: Any) -> None:
    model = short_recipe().build(seed=3, device="cpu").model.double().eval()
    with torch.no_grad():
        tree, plain = both_layouts(model, processor, rows=3)
        expected = naive_table(model, processor, paired_rows(3)).flatten()
    assert tree.std() > 1
    torch.testing.assert_close(tree, plain, rtol=0, atol=1e-9)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-9)


def _words(text: str) -> set[str]:
    return set(text.replace("{}", " ").translate(str.maketrans(".,:?", "    ")).split())


def test_each_held_out_line_has_a_word_that_training_lacks() -> None:
    """Instructions (both sides), questions and roles: none recombines training words only."""
    train = NATURAL["train"]
    instructions = [line for pair in train.instructions for line in pair]
    for split in ("validation", "test"):
        held = NATURAL[split]
        lines = [line for pair in held.instructions for line in pair]
        for kinds, known in (
            (lines, instructions),
            (held.questions, train.questions),
            (held.roles, train.roles),
        ):
            seen = set.union(*map(_words, known))
            assert kinds
            for line in kinds:
                assert line.count("{}") == 1
                assert _words(line) - seen, line


def test_validation_and_test_share_no_line() -> None:
    validation, test = NATURAL["validation"], NATURAL["test"]
    for kind in ("instructions", "questions", "roles"):
        assert not set(getattr(validation, kind)) & set(getattr(test, kind))
