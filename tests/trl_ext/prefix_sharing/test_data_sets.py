"""Data sets of every kind that `datasets` has: features, formats, transforms, further columns."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import assistant, paired_rows, user  # noqa: E402
from tests.trl_ext.token_batches import tiny  # noqa: E402
from tests.trl_ext.trainers import config, losses  # noqa: E402
from trl_ext import NCAPrivTrainer, PrefixDPOConfig, PrefixDPOTrainer  # noqa: E402
from trl_ext.prefix_sharing.collator import PreferenceCollator  # noqa: E402
from trl_ext.prefix_sharing.encoding import SequenceEncoder  # noqa: E402
from trl_ext.prefix_sharing.errors import RowError  # noqa: E402
from trl_ext.prefix_sharing.pictures import undecoded  # noqa: E402
from trl_ext.prefix_sharing.row_cache import row_keys  # noqa: E402

Image = datasets.Image


@pytest.fixture(scope="module")
def rows():
    """Rows whose pictures are known by their content alone."""
    return datasets.Dataset.from_list(paired_rows(4)).remove_columns(["image_id"])


def ready_settings(folder, **options):
    """The options of `configs/nca_priv.yaml` that look at all rows before the first step."""
    options = {
        "prefix_sharing": "image",
        "precompute_ref_log_probs": True,
        "max_batch_tokens": 500,
        "learning_rate": 1e-2,
        **options,
    }
    return config(folder, **options)


def trained(folder, model, data, **options):
    """The losses of two steps, and those of the data after them."""
    args = ready_settings(folder, **options)
    trainer = NCAPrivTrainer(model, args=args, train_dataset=data, eval_dataset=data)
    trainer.train()
    after = trainer.evaluate()["eval_loss"], trainer.predict(data).metrics["test_loss"]
    return [*losses(trainer), *after]


@pytest.fixture(scope="module")
def expected(tmp_path_factory, saved, rows):
    return trained(tmp_path_factory.mktemp("expected"), saved, rows)


KINDS = {
    "long list": lambda rows: rows.cast_column("images", datasets.LargeList(Image())),
    "list of one": lambda rows: rows.cast_column("images", datasets.List(Image(), length=1)),
    "undecoded": lambda rows: rows.cast_column("images", datasets.List(Image(decode=False))),
    "tensors": lambda rows: rows.with_format("torch"),
    "one more picture": lambda rows: with_thumbnails(rows),
}


def with_thumbnails(rows):
    small = [tiny_models.picture(number, 8, 8) for number in range(len(rows))]
    column = datasets.Dataset.from_list([{"thumbnail": each} for each in small])
    return datasets.concatenate_datasets([rows, column], axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_feature_and_format_train_alike(tmp_path, saved, rows, expected, kind):
    assert trained(tmp_path, saved, KINDS[kind](rows)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("feature", [datasets.List(Image(), length=1), datasets.LargeList(Image())])
def test_undecoded_pictures_keep_their_kind_of_list(rows, feature):
    files = undecoded(rows.cast_column("images", feature))
    assert type(files.features["images"]) is type(feature)
    assert files.features["images"].feature == Image(decode=False)
    assert set(files[0]["images"][0]) == {"bytes", "path"}


def test_one_picture_in_place_of_a_list_is_named(saved, rows, tmp_path):
    features = datasets.Features({**rows.features, "images": Image()})
    single = rows.map(lambda row: {"images": row["images"][0]}, features=features)
    with pytest.raises(RowError, match=r"item-0.*images holds a dict, not a list.*column .*image"):
        NCAPrivTrainer(saved, args=config(tmp_path), train_dataset=single)


def test_rows_that_a_transform_makes_train_as_they_are_read(tmp_path, saved, rows):
    def inverted(batch):
        pictures = [[each.point(lambda value: 255 - value) for each in row]
                    for row in batch["images"]]  # fmt: skip
        return {**batch, "images": pictures}

    on_the_fly = rows.with_transform(inverted)
    written = rows.map(inverted, batched=True, features=rows.features)
    plain = {"prefix_sharing": "row", "precompute_ref_log_probs": False, "max_batch_tokens": None}
    found = trained(tmp_path, saved, on_the_fly, **plain)
    assert found == pytest.approx(trained(tmp_path, saved, written, **plain), abs=1e-6)
    assert found != pytest.approx(trained(tmp_path, saved, rows, **plain), abs=1e-3)
    for option in ({"prefix_sharing": "image"}, {"precompute_ref_log_probs": True}):
        args = config(tmp_path, **option)
        with pytest.raises(SpyBenchError, match=r"a transform.* map"):
            NCAPrivTrainer(saved, args=args, train_dataset=on_the_fly)


def test_what_a_row_is_called_does_not_change_its_key(rows):
    collator = PreferenceCollator(SequenceEncoder(tiny("qwen2_vl", torch.float32)[1]))
    keys = row_keys(rows, collator.columns)
    assert len(set(keys)) == len(rows)
    renamed = rows.remove_columns(["item_id", "label"])
    more = with_thumbnails(rows)
    assert row_keys(renamed, collator.columns) == row_keys(more, collator.columns) == keys
    changed = rows.map(lambda row: {"chosen_1": assistant("Other.")})
    assert not set(row_keys(changed, collator.columns)) & set(keys)


def test_texts_and_pictures_train_grouped_by_picture(tmp_path, saved, rows):
    """TRL's standard format: the prompt says where the picture is."""
    texts = [
        {
            "images": row["images"],
            "prompt": f"<|vision_start|><|image_pad|><|vision_end|>Who is {number}?",
            "chosen": " Nobody.",
            "rejected": " I cannot say." + " No." * number,
        }
        for number, row in enumerate(rows)
    ]
    args = ready_settings(tmp_path, kind=PrefixDPOConfig)
    trainer = PrefixDPOTrainer(saved, args=args, train_dataset=datasets.Dataset.from_list(texts))
    trainer.train()
    grouped = losses(trainer)
    assert grouped[0] == pytest.approx(0.6931, abs=1e-3)
    assert grouped[1] < grouped[0]
    for change in ({"chosen": "<|image_pad|>"}, {"images": []}):
        with pytest.raises(RowError, match=r"contains '<\|image_pad\|>'"):
            trainer.data_collator([{**texts[0], **change}])


def test_texts_and_messages_may_meet_in_a_batch_and_keep_their_words(rows):
    """A tokenizer whose template takes lists of parts alone, as that of a model for pictures."""
    processor = tiny("llava", torch.float32)[1]
    tokenizer = processor.tokenizer
    messages = {
        "prompt": user("Who?", 0), "chosen": assistant("A person."), "rejected": assistant("No.")
    }  # fmt: skip
    strings = {
        name: [{**message, "content": message["content"][-1]["text"]} for message in value]
        for name, value in messages.items()
    }
    texts = {"prompt": "Who is it?", "chosen": " A person.", "rejected": " No."}
    kept = tokenizer.chat_template
    try:
        tokenizer.chat_template = processor.chat_template
        collate = PreferenceCollator(SequenceEncoder(tokenizer), ("",))
        batch = collate([messages, strings, texts])["sequences"]
    finally:
        tokenizer.chat_template = kept
    written = [
        tokenizer.decode(ids[length:])
        for ids, length in zip(batch.input_ids, batch.prompt_lengths, strict=True)
    ]
    end = "<|im_end|>"
    assert written == [f"A person.{end}\n", f"No.{end}\n"] * 2 + [f" A person.{end}", f" No.{end}"]
    assert "Who?" in tokenizer.decode(batch.input_ids[2])
