"""The lab: train a small vision-language model, align it by each method, and compare the results.

May import everything but `cli`. Training runs `trl_ext` by its command line.
"""

SIZES = ("tiny", "small")
"""Names of the lab sizes; `sizes` defines them."""

METHODS = ("sft", "dpo", "nca", "nca_priv")
"""Alignment methods, in the order in which they run and are shown."""

PREFIX_SHARING = ("image", "row", "off")
"""Values of the trainers' `prefix_sharing`; the first is that of the ready settings. SFT has none.
"""
