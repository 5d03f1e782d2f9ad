"""Tests of the training extension; `tests.trl_ext.tiny_models` builds their models."""
