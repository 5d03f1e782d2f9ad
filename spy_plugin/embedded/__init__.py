"""The benchmarks that need no download, drawn at first use: `mini` and `lab`.

It may import `data` and what that may import.
"""
