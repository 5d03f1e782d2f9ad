"""Rows of text and pictures are encoded as token sequences."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("trl")

from spy_plugin.errors import DataError  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import (  # noqa: E402
    ANSWER,
    REFUSAL,
    assistant,
    paired_rows,
    user,
    without_pictures,
)
from trl_ext.nca_priv.nca_priv_trainer import SIDES  # noqa: E402
from trl_ext.prefix_sharing import pictures  # noqa: E402
from trl_ext.prefix_sharing.collator import PreferenceCollator  # noqa: E402
from trl_ext.prefix_sharing.encoding import SequenceEncoder  # noqa: E402


@pytest.fixture(scope="module")
def processor():
    return tiny_models.build("qwen2_vl")[1]


def collate(processor, rows, **options):
    return PreferenceCollator(SequenceEncoder(processor, **options), SIDES)(rows)


def completions(processor, sequences):
    return [
        processor.tokenizer.decode(ids[start:])
        for ids, start in zip(sequences.input_ids, sequences.prompt_lengths, strict=True)
    ]


def test_completions_end_as_the_template_ends_a_turn_once(processor):
    sequences = collate(processor, paired_rows(1))["sequences"]
    assert completions(processor, sequences) == [
        f"{ANSWER}<|im_end|>\n",
        f"{REFUSAL}<|im_end|>\n",
        f"{REFUSAL}<|im_end|>\n",
        f"{ANSWER}<|im_end|>\n",
    ]


def test_the_end_token_of_the_official_code_can_be_added(processor):
    sequences = collate(processor, paired_rows(1), extra_end_token=True)["sequences"]
    assert completions(processor, sequences)[1] == f"{REFUSAL}<|im_end|>\n<|im_end|>"


def test_the_prompt_is_the_user_turn_with_its_picture_expanded(processor):
    sequences = collate(processor, paired_rows(1))["sequences"]
    prompt = processor.tokenizer.decode(sequences.input_ids[0][: sequences.prompt_lengths[0]])
    assert prompt == (
        f"<|im_start|>user\n<|vision_start|>{'<|image_pad|>' * 4}<|vision_end|>"
        "Do not call the face private.\n\nWho is it?<|im_end|>\n<|im_start|>assistant\n"
    )
    types = sequences.token_inputs["mm_token_type_ids"][0]
    assert types.sum() == 4
    assert not types[sequences.prompt_lengths[0] :].any()


def test_a_picture_is_processed_once_however_many_sequences_show_it(processor, monkeypatch):
    calls = []
    work = type(processor.image_processor).preprocess
    monkeypatch.setattr(
        type(processor.image_processor),
        "preprocess",
        lambda self, *args, **kwargs: calls.append(1) or work(self, *args, **kwargs),
    )
    sequences = collate(processor, paired_rows(4))["sequences"]
    assert len(calls) == 2
    assert sequences.picture == [0] * 8 + [1] * 8
    assert "preprocess" not in vars(processor.image_processor)


def test_a_picture_of_a_batch_is_opened_hashed_and_processed_once(processor, monkeypatch, tmp_path):
    path = tmp_path / "picture.png"
    tiny_models.picture(3).save(path)
    rows = [{**row, "images": [{"path": str(path), "bytes": None}]} for row in paired_rows(8)]
    calls = []
    for owner, name in (
        (pictures, "open_picture"),
        (pictures, "content_digest"),
        (type(processor.image_processor), "preprocess"),
        (type(processor), "__call__"),
    ):
        work = getattr(owner, name)
        monkeypatch.setattr(
            owner,
            name,
            lambda *args, work=work, name=name, **kwargs: (
                calls.append(name) or work(*args, **kwargs)
            ),
        )
    collate(processor, rows)
    assert sorted(calls) == ["__call__", "content_digest", "open_picture", "preprocess"]


def test_the_texts_of_a_batch_are_tokenized_together(processor, monkeypatch):
    calls = []
    work = type(processor.tokenizer).__call__
    monkeypatch.setattr(
        type(processor.tokenizer),
        "__call__",
        lambda self, *args, **kwargs: calls.append(1) or work(self, *args, **kwargs),
    )
    collate(processor, paired_rows(2))  # of one picture
    assert len(calls) == 3  # one whole prompt, the ends of the others, all completions


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_together_conversations_get_the_tokens_that_they_get_alone(family):
    processor = tiny_models.build(family)[1]
    rows = paired_rows(5)
    for number, row in enumerate(rows[1:]):  # ends that a tokenizer might join with what precedes
        for side in SIDES:
            content = row[f"prompt{side}"][0]["content"]
            content[-1]["text"] = ("\n\n", " ", "  .", "\n")[number] + content[-1]["text"]
    together = collate(processor, rows)["sequences"]
    encoder = SequenceEncoder(processor)
    conversations = [
        each for row in rows for each in PreferenceCollator(encoder, SIDES).conversations(row)
    ]
    single = [encoder([each]) for each in conversations]
    assert len(single) == len(together)
    assert [each.tolist() for each in together.input_ids] == [
        each.input_ids[0].tolist() for each in single
    ]
    assert together.prompt_lengths == [each.prompt_lengths[0] for each in single]
    for name, values in together.token_inputs.items():
        assert [each.tolist() for each in values] == [
            each.token_inputs[name][0].tolist() for each in single
        ]


def test_pictures_are_told_apart_by_content_and_order(processor):
    first, second = tiny_models.picture(1), tiny_models.picture(2)
    row = paired_rows(1, images=2)[0]
    rows = [{**row, "images": images} for images in ([first, second], [second, first])]
    rows.append({**row, "images": [tiny_models.picture(1), tiny_models.picture(2)]})
    sequences = collate(processor, rows)["sequences"]
    assert sequences.picture == [0] * 4 + [1] * 4 + [0] * 4
    assert len(sequences.vision) == 2


def test_rows_of_a_dataset_give_the_same_as_rows_in_memory(processor):
    rows = paired_rows(2)
    stored = list(datasets.Dataset.from_list(rows))
    assert "text" in stored[0]["prompt_0"][0]["content"][0]  # Arrow fills in None
    ours, theirs = (collate(processor, each)["sequences"] for each in (rows, stored))
    for a, b in zip(ours.input_ids, theirs.input_ids, strict=True):
        assert torch.equal(a, b)


def test_a_single_picture_may_stand_in_the_column_image(processor):
    row = paired_rows(1)[0]
    single = {**without_pictures([row])[0], "image": row["images"][0]}
    ours, theirs = (collate(processor, [each])["sequences"] for each in (single, row))
    assert torch.equal(ours.input_ids[0], theirs.input_ids[0])


def test_plain_text_contents_get_their_picture_in_front(processor):
    row = paired_rows(1)[0]
    plain = {
        name: [{**value[0], "content": value[0]["content"][-1]["text"]}]
        if name.startswith(("prompt", "chosen", "rejected"))
        else value
        for name, value in row.items()
    }
    ours, theirs = (collate(processor, [each])["sequences"] for each in (plain, row))
    assert torch.equal(ours.input_ids[0], theirs.input_ids[0])


def test_max_length_cuts_completions_and_says_so(processor, caplog):
    whole = collate(processor, paired_rows(1))["sequences"]
    limit = max(whole.prompt_lengths) + 6
    with caplog.at_level(logging.WARNING):
        cut = collate(processor, paired_rows(1), max_length=limit)["sequences"]
    assert max(len(ids) for ids in cut.input_ids) == limit
    for ids, all_ids in zip(cut.input_ids, whole.input_ids, strict=True):
        assert torch.equal(ids, all_ids[:limit])
    assert len([r for r in caplog.records if "cut at max_length" in r.message]) == 1


def test_max_length_never_cuts_a_prompt(processor):
    lengths = collate(processor, paired_rows(3))["sequences"].prompt_lengths
    with pytest.raises(DataError, match=r"row item_id item-1, .*max_length=\d+ leaves no room"):
        collate(processor, paired_rows(3), max_length=max(lengths))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen_1": None}, "item-0.*no chosen_1"),
        ({"images": []}, r"item-0.*Number of images provided \(0\)"),
        ({"prompt_0": user("Who?", images=2)}, r"item-0.*Number of images provided \(1\)"),
        (
            {"images": ["https://example.org/a.png"]},
            "item-0.*a.png cannot be opened",
        ),
    ],
)
def test_a_row_that_cannot_be_encoded_is_named(processor, change, message):
    with pytest.raises(DataError, match=message):
        collate(processor, [{**paired_rows(1)[0], **change}])


def test_rows_without_names_are_named_by_their_place(processor):
    row = {name: value for name, value in paired_rows(1)[0].items() if "id" not in name}
    row = {name: value for name, value in row.items() if name != "label"}
    with pytest.raises(DataError, match="row 1 of a batch"):
        collate(processor, [row, {**row, "prompt_1": None}])


def test_rows_without_pictures_need_only_a_tokenizer(processor):
    tokenizer = processor.tokenizer
    tokenizer.chat_template = processor.chat_template.replace(
        "{% for part in message.content -%}", "{% for part in [message.content] -%}"
    ).replace("part.text", "part")
    rows = without_pictures(paired_rows(1, images=0))
    ours = collate(tokenizer, rows)["sequences"]
    theirs = collate(processor, rows)["sequences"]
    assert torch.equal(ours.input_ids[3], theirs.input_ids[3])
    with pytest.raises(DataError, match="only a tokenizer"):
        collate(tokenizer, [{**rows[0], "images": [tiny_models.picture()]}])


def test_a_template_that_never_ends_a_turn_is_warned_about(caplog):
    processor = tiny_models.build("llava")[1]
    processor.chat_template = processor.chat_template.replace("<|im_end|>", "")
    with caplog.at_level(logging.WARNING):
        collate(processor, paired_rows(2))
    assert len([r for r in caplog.records if "learn to stop" in r.message]) == 1


def test_reference_log_probabilities_of_the_rows_come_along(processor):
    rows = [
        {**row, "ref_chosen_logps": [-1.0, -2.0], "ref_rejected_logps": [-3.0, -4.0]}
        for row in paired_rows(2)
    ]
    batch = collate(processor, rows)
    assert batch["ref_chosen_logps"].tolist() == [[-1.0, -2.0]] * 2
    assert batch["ref_rejected_logps"].tolist() == [[-3.0, -4.0]] * 2
    assert batch["completion_tokens"].shape == (2, 2, 2)


def test_chat_template_options_of_a_row_reach_the_template():
    processor = tiny_models.build("qwen2_vl")[1]
    processor.chat_template = "{{ greeting }}" + processor.chat_template
    row = {**paired_rows(1)[0], "chat_template_kwargs": {"greeting": "Hello."}}
    sequences = collate(processor, [row])["sequences"]
    assert processor.tokenizer.decode(sequences.input_ids[0]).startswith("Hello.<|im_start|>user")


def test_messages_of_the_answer_may_be_several(processor):
    row = {
        **paired_rows(1)[0],
        "chosen_0": [*assistant("Well."), *user("And?", 0), *assistant("No.")],
    }
    sequences = collate(processor, [row])["sequences"]
    assert completions(processor, sequences)[0].count("<|im_end|>") == 3
