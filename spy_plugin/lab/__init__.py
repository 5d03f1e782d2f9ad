"""The lab: a small vision-language model, trained from nothing, that learns to obey privacy."""
