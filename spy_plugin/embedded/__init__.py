"""The benchmarks that need no download: `mini` and `lab`.

It may import `data` and what that may import.
"""
