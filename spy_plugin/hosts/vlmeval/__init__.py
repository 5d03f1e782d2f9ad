"""SPY-Bench inside VLMEvalKit, which has no plugin mechanism: `register` edits its containers."""

from spy_plugin.hosts.vlmeval.registration import register

__all__ = ["register"]
