"""What exists, by name: typed access to `registry/*.yaml` and to the installed packages.

It may import `files` and `compat`.
"""
