"""NCAPrivTrainer for TRL: preference training on both sides of a privacy instruction."""
