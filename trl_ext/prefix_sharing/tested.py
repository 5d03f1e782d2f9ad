"""The versions of TRL that were tested, and what of TRL beyond its public interface is used."""

from __future__ import annotations

import inspect
import logging
from functools import cache
from importlib.metadata import version

from packaging.version import Version
from trl.trainer.dpo_trainer import DPOTrainer

logger = logging.getLogger(__name__)

TESTED = ("1.10", "1.16")
"""The oldest and the newest minor version of TRL that the tests ran with."""

OVERRIDDEN = {
    "_prepare_dataset": ("dataset", "processing_class", "args", "dataset_name"),
    "_set_signature_columns_if_needed": (),
    "compute_ref_log_probs": ("model", "inputs"),
    "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
    "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
}
"""Methods of `DPOTrainer` that are overridden, and their parameters after `self`."""


@cache
def warn_of_untested_trl() -> None:
    """Warn once of a TRL that is newer or older than the tested ones, or has changed methods.

    A warning is enough: the trainer compares log-probabilities before it uses a layout.
    """
    installed = Version(version("trl"))
    oldest, newest = map(Version, TESTED)
    if not oldest <= Version(f"{installed.major}.{installed.minor}") <= newest:
        logger.warning(
            "TRL %s is installed; these trainers were tested with %s to %s.", installed, *TESTED
        )
    for name, expected in OVERRIDDEN.items():
        method = getattr(DPOTrainer, name, None)
        found = tuple(inspect.signature(method).parameters)[1:] if callable(method) else None
        if found != expected:
            logger.warning(
                "DPOTrainer.%s of TRL %s takes %s, not %s: what overrides it here may not be "
                "called. Install trl>=%s,<=%s if numbers look wrong.",
                name,
                installed,
                "no such method" if found is None else f"({', '.join(found)})",
                f"({', '.join(expected)})",
                *TESTED,
            )
