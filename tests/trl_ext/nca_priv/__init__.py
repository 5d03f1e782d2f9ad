"""The plain trainer of NCA-P."""
