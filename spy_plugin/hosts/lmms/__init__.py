"""SPY-Bench inside lmms-eval: its tasks, models and judging, by entry point."""
