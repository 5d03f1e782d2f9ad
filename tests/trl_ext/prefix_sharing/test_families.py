"""The table of docs/families.md: shared, falls back, refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from tests.conftest import ROOT  # noqa: E402
from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.more_families import MORE_FAMILIES  # noqa: E402
from tests.trl_ext.rows import naive_table, paired_rows  # noqa: E402
from trl_ext.prefix_sharing.check import CheckedPrefixTree, refusal  # noqa: E402
from trl_ext.prefix_sharing.collator import PreferenceCollator  # noqa: E402
from trl_ext.prefix_sharing.config import refuse_family  # noqa: E402
from trl_ext.prefix_sharing.encoding import SequenceEncoder  # noqa: E402
from trl_ext.prefix_sharing.errors import TrainerSetupError  # noqa: E402
from trl_ext.prefix_sharing.plain import plain_log_probs  # noqa: E402

EXPERTS = ("llama4", "qwen3_vl_moe")
"""Their fused experts have no float64."""

NAMES = {"llava": {"LLaVA 1.5": "llava", "Pixtral": "pixtral"}}
NAMES |= {"mistral3": {"Mistral Small 3": "mistral3", "Ministral 3": "ministral3"}}
"""Families that share a `model_type`: line of the table -> tiny model."""


def table():
    """(tiny model, verdict, reason) of each line."""
    lines = (ROOT / "docs" / "families.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:2] == "| "]
    for name, kind, verdict, reason in cells[1:]:
        kind = kind.strip("`")
        yield NAMES.get(kind, {}).get(name, kind), verdict, reason


LINES = list(table())


def test_the_table_names_every_tiny_model():
    assert sorted(family for family, _, _ in LINES) == sorted(
        [*tiny_models.FAMILIES, *MORE_FAMILIES]
    )


@pytest.mark.parametrize(("family", "verdict", "reason"), LINES, ids=[line[0] for line in LINES])
def test_a_family_is_what_the_table_says(family, verdict, reason):
    dtype = torch.float32 if family in EXPERTS else torch.float64
    model, processor = tiny_models.build(family, dtype=dtype)
    if verdict == "refused":
        with pytest.raises(TrainerSetupError, match=reason):
            refuse_family(model)
        return
    refuse_family(model)
    if family == "llama4" and transformers.__version__.startswith("5.24."):
        pytest.skip("Llama 4's own forward fails in transformers 5.24 (no image_outputs)")
    rows = paired_rows(2)
    sequences = PreferenceCollator(SequenceEncoder(processor))(rows)["sequences"]
    layout = CheckedPrefixTree()
    with torch.no_grad():
        found = layout(model, sequences)
        plain = plain_log_probs(model, sequences)
        expected = naive_table(model, processor, rows).flatten()
    allowed = 1e-3 if family in EXPERTS else 1e-9
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed)
    torch.testing.assert_close(plain, expected, rtol=0, atol=allowed)
    assert verdict == {0: "shared", 1: "falls back"}[layout.counted.plain]
    assert (reason in refusal(model)) if reason else not refusal(model)
