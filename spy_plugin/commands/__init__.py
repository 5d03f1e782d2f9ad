"""One module a command of `spy-bench`: `add_arguments(parser)` and `run(args) -> exit code`."""
