"""The `spy-bench` command.

One module per command, each with `add_arguments(parser)` and `run(args) -> exit code`.

It may import everything; nothing imports it.
"""
