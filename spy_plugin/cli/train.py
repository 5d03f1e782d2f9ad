"""`spy-bench train METHOD`: the friendly door to the training scripts of `trl_ext`."""

from trl_ext.scripts.cli import add_arguments, run

__all__ = ["add_arguments", "run"]
