"""Train on SPY-Tune's preference rows with DPO: TRL's `DPOTrainer` with shared prefixes.

python -m trl_ext.scripts.dpo --model_name_or_path Qwen/Qwen2-VL-2B-Instruct --data DATA
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trl_ext.scripts import _common

METHOD = _common.Method(
    name="dpo",
    config="trl_ext.prefix_sharing.config:PrefixDPOConfig",
    trainer="trl_ext.prefix_sharing.dpo_trainer:PrefixDPOTrainer",
    kind="preference",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    return _common.main(METHOD, argv)


if __name__ == "__main__":
    sys.exit(main())
