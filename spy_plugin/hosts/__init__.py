"""Adapters to the harnesses: registration and translation, no scoring of their own.

It may import `own`, `sharing` and what those may import.
"""
