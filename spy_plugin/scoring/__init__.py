"""Verdicts -> figures: metrics, intervals, comparisons. Pure numpy.

It may import `benchmark` and what that may import.
"""
