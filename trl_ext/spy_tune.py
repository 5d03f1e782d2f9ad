"""SPY-Tune as a `datasets.Dataset` in TRL's conversational vision format."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from spy_plugin.benchmark.loading import read_label_words
from spy_plugin.benchmark.own_benchmark import open_form
from spy_plugin.benchmark.protocol import BUILTIN, CONFIG_FILE, Protocol, read_official_protocol
from spy_plugin.benchmark.spy_tune import Kind, Row, RowBuilder, TuneItem, read_tune_items
from spy_plugin.benchmarks import is_own
from spy_plugin.data.picture_roots import find_root
from spy_plugin.data.pictures import picture_file, refuse_narrow
from spy_plugin.errors import DataError, MissingDependencyError, SpyBenchError
from spy_plugin.files.home import expand

if TYPE_CHECKING:
    from datasets import Dataset, Features

logger = logging.getLogger(__name__)

Split = Literal["train", "validation"]

MINI = "mini"
"""Value of `path` for the tuning half of the embedded benchmark."""

_MESSAGE_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "sft": ("messages",),
    "preference": ("prompt", "chosen", "rejected"),
    "paired": ("prompt_0", "prompt_1", "chosen_0", "chosen_1", "rejected_0", "rejected_1"),
}
_DATA_FILES = ("train/data/train_data.json", "train_data.json", "tune.json")
_LABEL_FILES = ("benchmark/data/label2text.json", "label2text.json")


def load_spy_tune(
    path: str | Path,
    kind: Kind = "paired",
    *,
    distractors: bool = True,
    shuffle_seed: int | None = None,
    max_rows: int | None = None,
    protocol: Protocol | None = None,
    label2text: str | Path | None = None,
    image_root: str | Path | None = None,
    split: Split | None = None,
    validation_share: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Read SPY-Tune, or a file of its layout, as rows to train on.

    Args:
        path: The data file, a folder that holds it (a release's root, for example), the folder of
            one's own benchmark (`spy-bench new`) whose items have answers, or ``"mini"`` for the
            tuning half of the embedded benchmark, which needs no download.
        kind: ``"sft"`` (column `messages`), ``"preference"`` (`prompt`, `chosen`, `rejected`) or
            ``"paired"`` (`prompt_0`, `prompt_1`, `chosen_0`, `chosen_1`, `rejected_0`,
            `rejected_1`). Each also has `images` (a list of one, decoded when a row is read),
            `label`, `item_id` and `image_id`.
        distractors: Add instructions about the item's other labels to the prompt.
        shuffle_seed: Shuffle the rows, the same way on every machine. `None` keeps file order.
        max_rows: Keep only the first `max_rows` rows, after the shuffle.
        protocol: The words of the instruction lines. By default those of the release that the
            data lie in, else the built-in ones, with a warning.
        label2text: Label id -> words. By default searched for in the release and beside the data.
        image_root: Folder that `image_path` is relative to. By default searched for in the release
            (where its instructions put the pictures), else the data file's folder.
        split: Only the rows of the pictures in this part; `None` for all. No picture is in both.
        validation_share: The share of the pictures that are for validation, between 0 and 1.
        split_seed: Draws these pictures, the same way on every machine.

    Raises:
        DataError: a file, a field or a picture is missing or wrong; names the file and the item.
        MissingDependencyError: the `train` extra is not installed.
    """
    if kind not in get_args(Kind):
        raise SpyBenchError(f"kind {kind!r} is unknown. Use one of: {', '.join(get_args(Kind))}.")
    if max_rows is not None and max_rows < 1:
        raise SpyBenchError(f"max_rows is {max_rows}. Give a number of at least 1, or none.")
    source = _source(path, protocol, label2text, image_root)
    builder = RowBuilder(source.protocol, source.label_words, distractors)
    pictures = ((t.item.image_path, t.item.benchmark_id) for t in source.items)
    _check_pictures(pictures, source.images, source.file)
    items = source.items
    if split is not None:
        items = _part_of(items, split, validation_share, split_seed)

    rows = [row for tune in items for row in builder.rows(tune, kind)]
    if shuffle_seed is not None:
        random.Random(shuffle_seed).shuffle(rows)
    rows = rows[:max_rows]
    logger.info(
        "%s: %d %s rows in the words of %s", source.file, len(rows), kind, source.protocol.name
    )
    return _dataset(rows, kind, source.images)


@dataclass(frozen=True)
class _Source:
    """Items, with what turns them into rows; `file` is where they come from, for errors."""

    file: Path
    items: Sequence[TuneItem]
    protocol: Protocol
    label_words: Mapping[str, str]
    images: Path


def _source(
    path: str | Path,
    protocol: Protocol | None,
    label2text: str | Path | None,
    image_root: str | Path | None,
) -> _Source:
    if path != MINI and is_own(expand(path)):
        if label2text or image_root:
            raise SpyBenchError(
                "label2text and image_root are not for one's own benchmark, which names both."
            )
        return _own_source(expand(path), protocol)
    data_file = _data_file(path)
    root = _release_root(data_file)
    if protocol is None:
        protocol = read_official_protocol(root) if root else BUILTIN
        if root is None and path != MINI:
            logger.warning(
                "%s lies in no official release: its instructions are written in the built-in "
                "words, which are not the paper's. For the paper's, pass the release's root as the "
                "data, or as --release DIR (protocol=read_official_protocol(DIR) in Python).",
                data_file,
            )
    words = read_label_words(Path(label2text) if label2text else _label_file(data_file, root))
    items = read_tune_items(data_file, words)
    images = Path(image_root) if image_root else root or data_file.parent
    images = find_root(images, items[0].item.image_path) or images
    return _Source(data_file, items, protocol, words, images)


def _own_source(folder: Path, protocol: Protocol | None) -> _Source:
    own = open_form(folder)
    if not own.tune:
        raise DataError(
            "no item has answers to train on",
            "Fill in the columns respond and reject.",
            path=folder,
        )
    benchmark = own.benchmark
    words, images = benchmark.label_words, benchmark.image_root
    return _Source(folder, own.tune, protocol or benchmark.protocol, words, images)


def _part_of(
    items: Sequence[TuneItem], split: Split, validation_share: float, seed: int
) -> list[TuneItem]:
    """Return the items whose picture is in a part; each part has at least one picture.

    Raises:
        SpyBenchError: the share is not between 0 and 1, or there are not two pictures.
    """
    pictures = sorted({tune.item.image_path for tune in items})
    if split not in get_args(Split) or not 0 < validation_share < 1 or len(pictures) < 2:
        raise SpyBenchError(
            f"split {split!r} with validation_share={validation_share} of {len(pictures)} "
            f"picture(s) is not possible. Use {' or '.join(get_args(Split))}, a share between 0 "
            "and 1, and at least 2 pictures."
        )
    random.Random(seed).shuffle(pictures)
    count = min(max(1, round(validation_share * len(pictures))), len(pictures) - 1)
    held_out = set(pictures[:count])
    wanted = split == "validation"
    return [tune for tune in items if (tune.item.image_path in held_out) == wanted]


def as_prompt_completion(dataset: Dataset) -> Dataset:
    """Split the `messages` of `sft` rows into `prompt` and `completion`.

    TRL's `SFTTrainer` then computes the loss on the answer alone, whatever the chat template.
    """
    return dataset.map(
        lambda messages: {"prompt": messages[:-1], "completion": messages[-1:]},
        input_columns=["messages"],  # leaves the pictures undecoded
        remove_columns=["messages"],
        desc="Splitting prompt and answer",
    )


def _data_file(path: str | Path) -> Path:
    if path == MINI:
        from spy_plugin.embedded import mini

        return Path(mini.build()) / "tune.json"
    path = expand(path)
    if not path.exists():
        raise DataError(
            "there is no such file or folder",
            f"Give a SPY-Tune file, the folder that it is in, or {MINI!r}.",
            path=path,
        )
    if not path.is_dir():
        return path
    for name in _DATA_FILES:
        if (path / name).is_file():
            return path / name
    raise DataError(
        f"holds none of {', '.join(_DATA_FILES)}",
        "Give the SPY-Tune file itself, or the folder that it is in.",
        path=path,
    )


def _release_root(data_file: Path) -> Path | None:
    """Return the release that the file lies in, as ``train/data/FILE`` or at the top."""
    parents = data_file.absolute().parents
    candidates = [parents[0]]
    if data_file.parent.name == "data" and len(parents) > 2:
        candidates.append(parents[2])
    return next((root for root in candidates if (root / CONFIG_FILE).is_file()), None)


def _label_file(data_file: Path, root: Path | None) -> Path:
    for folder in (root, data_file.parent):
        for name in _LABEL_FILES if folder else ():
            if folder and (folder / name).is_file():
                return folder / name
    raise DataError(
        "label2text.json was not found beside the data",
        "Give it as label2text: it is benchmark/data/label2text.json of the official release.",
        path=data_file,
    )


def _check_pictures(pictures: Iterable[tuple[str, str]], root: Path, data_file: Path) -> None:
    """Check that every picture is a picture file inside the root, before an epoch finds out."""
    from PIL import Image

    resolved = root.resolve()
    for image_path, item_id in dict(reversed(list(pictures))).items():
        where = f"item {item_id} of {data_file}"
        try:
            file = picture_file(resolved, image_path, where=where)
        except DataError as error:
            raise DataError(
                str(error).rstrip("."),
                "If the pictures are in another folder, pass it as image_root.",
            ) from error
        try:
            with Image.open(file) as opened:  # reads the header alone
                refuse_narrow(*opened.size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"the picture cannot be opened ({error})",
                "Replace the file.",
                path=file,
                where=where,
            ) from error


def _dataset(rows: list[Row], kind: Kind, images: Path) -> Dataset:
    try:
        from datasets import Dataset
    except ImportError as error:
        raise MissingDependencyError("datasets", "train") from error
    features = _features(kind)
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in features}
    columns["images"] = [[str(images / path) for path in paths] for paths in columns["images"]]
    return Dataset.from_dict(columns, features=features)


def _features(kind: Kind) -> Features:
    from datasets import Features, Image, List, Value

    text = Value("string")
    messages = List({"role": text, "content": List({"type": text, "text": text})})
    return Features(
        {
            "images": List(Image()),
            **dict.fromkeys(_MESSAGE_COLUMNS[kind], messages),
            **dict.fromkeys(("label", "item_id", "image_id"), text),
        }
    )
