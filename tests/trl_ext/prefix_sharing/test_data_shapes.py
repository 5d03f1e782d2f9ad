"""Every shape of rows that TRL takes gives the numbers of separate passes, or an error by name."""

from __future__ import annotations

import copy
import logging

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

from PIL import Image  # noqa: E402

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.rows import assistant, naive_table, paired_rows, user  # noqa: E402
from tests.trl_ext.token_batches import tiny  # noqa: E402
from tests.trl_ext.trainers import config, losses  # noqa: E402
from trl_ext import NCAPrivTrainer, PrefixDPOConfig, PrefixDPOTrainer  # noqa: E402
from trl_ext.prefix_sharing.check import CheckedPrefixTree  # noqa: E402
from trl_ext.prefix_sharing.collator import PreferenceCollator  # noqa: E402
from trl_ext.prefix_sharing.encoding import SequenceEncoder  # noqa: E402
from trl_ext.prefix_sharing.errors import RowError  # noqa: E402
from trl_ext.prefix_sharing.pictures import undecoded  # noqa: E402


def collate(processor, rows, **options):
    return PreferenceCollator(SequenceEncoder(processor, **options))(rows)


def with_system_prompts(rows):
    """A system prompt of its own on each side of each row."""
    for number, row in enumerate(rows):
        for side in "01":
            system = {"role": "system", "content": [{"type": "text", "text": f"Be {number + 2}."}]}
            row[f"prompt_{side}"] = [system, *row[f"prompt_{side}"]]
    return rows


def with_text_first(rows):
    """The side is said before the picture is shown."""
    for row in rows:
        for side in "01":
            [message] = row[f"prompt_{side}"]
            message["content"] = [{"type": "text", "text": f"Side {side}."}, *message["content"]]
    return rows


def with_text_between(rows):
    """Two pictures, and between them what differs from side to side."""
    for row in rows:
        row["images"] = [row["images"][0], tiny_models.picture(77)]
        for side in "01":
            [message] = row[f"prompt_{side}"]
            first, text = message["content"]
            between = {"type": "text", "text": f"Side {side}."}
            message["content"] = [first, between, {"type": "image"}, text]
    return rows


def with_turns(rows):
    """An answered question before the one that is asked."""
    for row in rows:
        for side in "01":
            row[f"prompt_{side}"] += [*assistant("A person."), *user("And who is it?", 0)]
    return rows


def mixed(rows):
    return [{**paired_rows(1, images=0)[0], "images": []}, *rows]


SHAPES = [with_system_prompts, with_text_first, with_text_between, with_turns, mixed]


@pytest.mark.parametrize("change", SHAPES)
@pytest.mark.parametrize("family", ["qwen2_vl", "gemma3"])
def test_rows_of_every_shape_have_the_numbers_of_separate_passes(family, change):
    model, processor = tiny(family, torch.float64)
    rows = change(copy.deepcopy(paired_rows(2)))
    layout = CheckedPrefixTree()
    with torch.no_grad():
        found = layout(model, collate(processor, rows)["sequences"]).view(-1, 2, 2)
        expected = naive_table(model, processor, rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert layout.counted.plain == 0
    assert layout.counted.computed < layout.counted.sequences


def test_palette_pictures_are_told_apart_by_their_colours(tmp_path):
    _, processor = tiny("qwen2_vl", torch.float32)
    rows = paired_rows(2)
    for row, colour in zip(rows, [(255, 0, 0), (0, 0, 255)], strict=True):
        image = Image.new("P", (56, 56), 0)
        image.putpalette([*colour, *[0] * 765])
        row["images"] = [image]
    sequences = collate(processor, rows)["sequences"]
    assert sequences.picture == [0] * 4 + [1] * 4
    first, second = (each["pixel_values"] for each in sequences.vision)
    assert not torch.equal(first, second)
    expected = processor.image_processor(rows[0]["images"][0].convert("RGB"), return_tensors="pt")
    torch.testing.assert_close(first, expected["pixel_values"])


def test_files_are_opened_as_datasets_opens_them(tmp_path):
    _, processor = tiny("qwen2_vl", torch.float32)
    picture = tiny_models.picture(3, 84, 56)
    exif = picture.getexif()
    exif[274] = 6  # taken with the camera on its side
    picture.save(tmp_path / "a.png", exif=exif)
    rows = [{**row, "images": [str(tmp_path / "a.png")]} for row in paired_rows(2)]
    stored = datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image()))
    opened, files = (
        collate(processor, list(each))["sequences"] for each in (stored, undecoded(stored))
    )
    assert files.picture == [0] * 8
    assert torch.equal(files.vision[0]["pixel_values"], opened.vision[0]["pixel_values"])


def test_rows_without_decoding_hold_the_same_and_leave_the_data_set_alone():
    rows = datasets.Dataset.from_list(paired_rows(4)).select([3, 0])
    files = undecoded(rows)
    assert set(files[0]["images"][0]) == {"bytes", "path"}
    assert isinstance(rows[0]["images"][0], Image.Image)
    assert files.column_names == rows.column_names
    again = files.add_column("number", [1, 2]).shuffle(seed=0).select_columns(["images", "number"])
    assert set(again[0]["images"][0]) == {"bytes", "path"}


@pytest.mark.parametrize("family", sorted(tiny_models.FAMILIES))
@pytest.mark.parametrize("where", ["chosen_1", "prompt_0"])
def test_a_text_that_holds_a_picture_token_is_named(family, where):
    _, processor = tiny(family, torch.float32)
    token = getattr(processor, "image_token", None) or processor.tokenizer.image_token
    rows = paired_rows(3)
    rows[2][where][0]["content"][-1]["text"] += f" The sticker says {token}."
    with pytest.raises(RowError, match="item-2") as refused:
        collate(processor, rows)
    assert token in str(refused.value)


def test_a_broken_picture_names_its_row_and_file(tmp_path):
    _, processor = tiny("qwen2_vl", torch.float32)
    tiny_models.picture(0, 300, 300).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:9000])
    row = {**paired_rows(1)[0], "images": [{"path": str(tmp_path / "half.jpg"), "bytes": None}]}
    with pytest.raises(RowError, match=r"item-0.*half\.jpg cannot be opened.*truncated"):
        collate(processor, [row])
    row["images"] = [{"path": None, "bytes": b"no picture"}]
    with pytest.raises(RowError, match=r"item-0.* cannot be opened \(not a format of pictures"):
        collate(processor, [row])


def test_what_a_processor_refuses_names_the_row(monkeypatch):
    for name in ("fitted", "refuse_narrow"):
        monkeypatch.setattr(f"trl_ext.prefix_sharing.pictures.{name}", lambda picture, *_: picture)
    _, processor = tiny("qwen2_vl", torch.float32)
    row = {**paired_rows(1)[0], "images": [Image.new("RGB", (3, 900))]}
    with pytest.raises(RowError, match=r"item-0.*aspect ratio"):
        collate(processor, [row])


def test_an_error_in_a_loader_process_is_one_line_that_names_the_row(tmp_path):
    from torch.utils.data import DataLoader

    _, processor = tiny("qwen2_vl", torch.float32)
    rows = paired_rows(2)
    rows[1]["chosen_0"] = None
    collator = PreferenceCollator(SequenceEncoder(processor))
    loader = DataLoader(rows, batch_size=1, collate_fn=collator, num_workers=1)
    with pytest.raises(RowError) as refused:
        list(loader)
    assert str(refused.value).startswith("row item_id item-1")
    assert "\n" not in str(refused.value)


def test_a_header_that_is_shown_at_inference_alone_is_warned_about(caplog):
    processor = tiny_models.build("qwen2_vl")[1]
    processor.chat_template = processor.chat_template.replace(
        "assistant\n{% endif", "assistant\n<think>\n{% endif"
    )
    with caplog.at_level(logging.WARNING):
        collate(processor, paired_rows(2))
    assert len([r for r in caplog.records if "<think>" in r.message]) == 1


@pytest.fixture(scope="module")
def words_only(tmp_path_factory):
    """Folder of a tiny Llama, its tokenizer, and rows in TRL's standard format."""
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    parts, processor = tiny_models.FAMILIES["llava"]()
    torch.manual_seed(0)
    LlamaForCausalLM(parts.text_config).save_pretrained(folder)
    rows = [
        {
            "prompt": f"Question {number}: who is it?",
            "chosen": " A person with a red car.",
            "rejected": f" I cannot share that{' there' * number}.",
        }
        for number in range(4)
    ]
    return str(folder), processor.tokenizer, datasets.Dataset.from_list(rows)


@pytest.mark.parametrize("prefix_sharing", ["off", "auto"])
def test_rows_of_texts_train_as_in_trl(tmp_path, words_only, prefix_sharing):
    folder, tokenizer, rows = words_only
    runs = []
    for trainer, options in (
        (trl.DPOTrainer, trl.DPOConfig),
        (PrefixDPOTrainer, PrefixDPOConfig),
    ):
        more = {"prefix_sharing": prefix_sharing} if options is PrefixDPOConfig else {}
        args = config(tmp_path, options, max_length=None, beta=0.5, **more)
        run = trainer(folder, args=args, train_dataset=rows, processing_class=tokenizer)
        run.train()
        runs.append(losses(run))
    assert runs[1] == pytest.approx(runs[0], abs=1e-4)


def test_rows_without_a_prompt_share_the_start_of_their_answers():
    _, processor = tiny("qwen2_vl", torch.float32)
    row = paired_rows(1)[0]
    given = {"images": row["images"], "prompt": row["prompt_0"]}
    given |= {"chosen": row["chosen_0"], "rejected": row["rejected_0"]}
    implicit = {
        "images": row["images"],
        "chosen": row["prompt_0"] + row["chosen_0"],
        "rejected": row["prompt_0"] + row["rejected_0"],
    }
    encoder = SequenceEncoder(processor)
    ours, theirs = (
        PreferenceCollator(encoder, ("",))([each])["sequences"] for each in (implicit, given)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours.input_ids, theirs.input_ids, strict=True))
    assert ours.prompt_lengths == theirs.prompt_lengths


def test_texts_and_messages_do_not_mix_in_a_row():
    _, processor = tiny("qwen2_vl", torch.float32)
    row = {**paired_rows(1)[0], "chosen_0": "Yes."}
    with pytest.raises(RowError, match=r"item-0.*partly messages and partly texts"):
        collate(processor, [row])


def test_a_limit_holds_for_a_tokenizer_alone(words_only):
    _, tokenizer, rows = words_only
    collator = PreferenceCollator(SequenceEncoder(tokenizer, max_length=12), ("",))
    with pytest.raises(RowError, match="max_length=12 leaves no room"):
        collator(list(rows))


def test_texts_are_sampled_by_their_length(tmp_path, words_only):
    folder, tokenizer, rows = words_only
    args = config(
        tmp_path, PrefixDPOConfig, max_length=None, train_sampling_strategy="group_by_length"
    )
    run = PrefixDPOTrainer(folder, args=args, train_dataset=rows, processing_class=tokenizer)
    assert len(set(run.train_dataset["length"])) > 1
    run.train()
    assert len(losses(run)) == 2


@pytest.mark.parametrize("sharing", ["row", "image"])
def test_one_picture_in_the_column_image_trains_as_several_in_images(tmp_path, sharing):
    rows = [
        {name: value for name, value in row.items() if name not in ("image_id", "item_id")}
        for row in paired_rows(4)
    ]
    many = datasets.Dataset.from_list(rows)
    one = many.map(lambda row: {"image": row["images"][0]}, remove_columns=["images"])
    one = one.cast_column("image", datasets.Image())
    tiny_models.build("qwen2_vl", directory=tmp_path / "model")
    runs = []
    for each in (many, one):
        args = config(tmp_path, prefix_sharing=sharing)
        run = NCAPrivTrainer(str(tmp_path / "model"), args=args, train_dataset=each)
        run.train()
        runs.append(losses(run))
    assert runs[0] == pytest.approx(runs[1], abs=1e-5)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"chosen_1": None}, "no chosen_1"),
        ({"rejected_0": assistant("It says <|image_pad|>.")}, "a text contains '<|image_pad|>'"),
    ],
)
def test_a_wrong_row_ends_the_run_before_its_first_step(tmp_path, change, problem, named):
    rows = copy.deepcopy(paired_rows(4))
    rows[3] |= change
    if not named:
        rows = [{k: v for k, v in row.items() if "id" not in k and k != "label"} for row in rows]
    tiny_models.build("qwen2_vl", directory=tmp_path / "model")
    name = "item-3" if named else "row 3"
    for part in ("train", "eval"):
        whole = datasets.Dataset.from_list(paired_rows(2))
        data = {"train_dataset": whole, "eval_dataset": {"some": whole}}
        wrong = datasets.Dataset.from_list(rows)
        data[f"{part}_dataset"] = wrong if part == "train" else {"some": wrong}
        trainer = NCAPrivTrainer(str(tmp_path / "model"), args=config(tmp_path), **data)
        with pytest.raises(RowError, match=problem) as refused:
            trainer.train()
        assert name in str(refused.value)
        assert trainer.state.global_step == 0
