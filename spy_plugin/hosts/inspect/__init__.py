"""SPY-Bench as tasks of inspect_ai; the top-level module `spy_bench` registers them."""
