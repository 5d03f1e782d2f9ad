"""The lab: a small vision-language model that learns to obey privacy."""

SIZES = ("tiny", "small")
"""Names of the sizes; `sizes` has what belongs to each."""

METHODS = ("sft", "dpo", "nca", "nca_priv")
"""Ways to align the base, in the order in which they are run and shown."""
