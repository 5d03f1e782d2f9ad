"""Train on both sides of SPY-Tune's instructions with NCA-P, the method of the paper.

    accelerate launch --config_file trl_ext/configs/accelerate/zero2.yaml --num_processes 8 \
        -m trl_ext.scripts.nca_priv --model_name_or_path Qwen/Qwen2-VL-7B-Instruct --data DATA
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trl_ext.scripts import _common

METHOD = _common.Method(
    name="nca_priv",
    config="trl_ext.prefix_sharing.config:NCAPrivConfig",
    trainer="trl_ext.prefix_sharing.nca_priv_trainer:NCAPrivTrainer",
    kind="paired",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    return _common.main(METHOD, argv)


if __name__ == "__main__":
    sys.exit(main())
