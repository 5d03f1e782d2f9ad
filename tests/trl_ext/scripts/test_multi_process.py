"""Two processes reproduce the curve of one under every ready accelerate file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.compat.torchvision import declare_missing_ops  # noqa: E402

declare_missing_ops()

from tests.trl_ext.script_runs import (  # noqa: E402
    launch,
    losses,
    prepare,
    saved_history,
    train,
    words,
)

SAVING = {"save_strategy": "steps", "save_steps": 3}
CURVES = ("loss", "rewards/margins", "logps/chosen_1", "completion_tokens", "grad_norm")
deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepare(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def single(prepared: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of one process with four rows per step, for comparison."""
    folder = tmp_path_factory.mktemp("single")
    # By row: with the rows of a picture together, the processes deal with pictures in turn.
    return train("nca_priv", words(prepared, output_dir=folder, prefix_sharing="row")), folder


def weights(folder: Path) -> dict[str, Any]:
    """Weights of the saved model after loading, since sharding strategies save different names."""
    from transformers import AutoModelForImageTextToText

    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return dict(model.state_dict())


def names(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as saved:
        return set(saved.keys())


def compare(strategy: str, prepared: Any, single: Any, folder: Path, **options: Any) -> None:
    options = {"prefix_sharing": "row", **options}
    launch(strategy, "nca_priv", words(prepared, SAVING, output_dir=folder, **options))
    trainer, one = single
    history = saved_history(folder)
    for name in CURVES:
        expected = losses(trainer.state.log_history, name)
        assert len(expected) == 3
        assert losses(history, name) == pytest.approx(expected, rel=2e-4, abs=1e-6), name
    # Other readers use the names of the trained model; tied weights may occur twice.
    assert names(folder) <= names(Path(prepared["model_name_or_path"])) | {"lm_head.weight"}
    expected_weights = weights(one)
    found = weights(folder)
    assert found.keys() == expected_weights.keys()
    for name, expected_weight in expected_weights.items():
        torch.testing.assert_close(found[name], expected_weight, rtol=1e-3, atol=2e-4)


def test_ddp_gives_the_curve_of_one_process(prepared: Any, single: Any, tmp_path: Path) -> None:
    compare("ddp", prepared, single, tmp_path)


@pytest.mark.slow
def test_fsdp2_gives_the_curve_of_one_process(prepared: Any, single: Any, tmp_path: Path) -> None:
    compare("fsdp2", prepared, single, tmp_path)


@pytest.mark.slow
def test_fsdp2_splits_checkpoints_and_saves_the_model_whole_in_its_own_dtype(
    prepared: Any, tmp_path: Path
) -> None:
    options = {"dtype": "bfloat16", "bf16": "true"}  # FSDP then trains float32 copies
    launch("fsdp2", "nca_priv", words(prepared, SAVING, options, output_dir=tmp_path))
    checkpoint = {each.name for each in (tmp_path / "checkpoint-3").iterdir()}
    assert {"pytorch_model_fsdp_0", "optimizer_0"} <= checkpoint
    assert not any(name.endswith((".safetensors", ".bin")) for name in checkpoint)
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    start = load_file(Path(prepared["model_name_or_path"]) / "model.safetensors")
    moved = [not torch.equal(saved[name], value.bfloat16()) for name, value in start.items()]
    assert sum(moved) > len(moved) / 2


@pytest.mark.slow
@deepspeed
@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero2_offload", "zero3"])
def test_deepspeed_gives_the_curve_of_one_process(
    strategy: str, prepared: Any, single: Any, tmp_path: Path
) -> None:
    compare(strategy, prepared, single, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", pytest.param("zero3", marks=deepspeed)])
def test_a_distributed_run_resumes(strategy: str, prepared: Any, tmp_path: Path) -> None:
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 5}
    whole = tmp_path / "whole"
    launch(strategy, "nca_priv", words(prepared, options, output_dir=whole))
    expected = saved_history(whole)
    (whole / "checkpoint-4" / "trainer_state.json").unlink()  # as after a kill while it was written
    launch(
        strategy,
        "nca_priv",
        words(prepared, options, output_dir=whole, resume_from_checkpoint="last"),
    )
    for name in ("loss", "rewards/margins"):
        again = losses(saved_history(whole), name)
        assert again == pytest.approx(losses(expected, name), rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", pytest.param("zero3", marks=deepspeed)])
def test_adapters_train_on_two_processes(strategy: str, prepared: Any, tmp_path: Path) -> None:
    launch(
        strategy,
        "nca_priv",
        words(prepared, SAVING, output_dir=tmp_path, config="lora_24gb", learning_rate="1e-2"),
    )
    curve = losses(saved_history(tmp_path))
    assert len(curve) == 3
    assert curve[-1] < curve[0]
    from safetensors.torch import load_file

    trained = load_file(tmp_path / "adapter_model.safetensors")
    assert any(value.abs().sum() > 0 for name, value in trained.items() if "lora_B" in name)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", pytest.param("zero3", marks=deepspeed)])
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_trl_methods_run_on_two_processes(
    method: str, strategy: str, prepared: Any, tmp_path: Path
) -> None:
    # By row: with the rows of a picture together, the processes deal with pictures in turn.
    options = {} if method == "sft" else {"prefix_sharing": "row"}
    launch(strategy, method, words(prepared, SAVING, options, output_dir=tmp_path))
    alone = train(method, words(prepared, options, output_dir=tmp_path / "alone"))
    expected = losses(alone.state.log_history)
    assert losses(saved_history(tmp_path)) == pytest.approx(expected, rel=2e-4)
