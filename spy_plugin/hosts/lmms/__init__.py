"""SPY-Bench in lmms-eval: tasks, models and judging, found through an entry point."""
