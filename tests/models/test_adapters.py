"""A folder of PEFT's adapters is a checkpoint: it names the model that they are for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.models import tiny_random
from spy_plugin.models.checkpoint import Checkpoint, check_name

peft = pytest.importorskip("peft")


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """Untrained adapters for `spy-tiny-random`, beside its processor, as trainers save them."""
    whole = Checkpoint(str(tiny_random.build()))
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(whole.model, config).save_pretrained(tmp_path)
    whole.processor.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()
    return tmp_path


def test_adapters_are_loaded_with_their_model(adapters: Path) -> None:
    check_name(str(adapters))
    loaded = Checkpoint(str(adapters))
    assert sum("lora_A" in name for name, _ in loaded.model.named_parameters()) == 2
    chat = [{"role": "user", "content": [{"type": "text", "text": "What is on the card?"}]}]
    (said,) = loaded.complete([chat], 8)
    (before,) = Checkpoint(str(tiny_random.build())).complete([chat], 8)
    assert 0 < said.output_tokens <= 8
    assert (said.input_tokens, said.text != before.text) == (before.input_tokens, True)


def test_adapters_that_name_no_model_are_one_error(adapters: Path) -> None:
    (adapters / "adapter_config.json").write_text(json.dumps({"r": 2}))
    with pytest.raises(DataError, match="names no base_model_name_or_path"):
        Checkpoint(str(adapters))
