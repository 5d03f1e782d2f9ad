"""The official release on this machine: prepare, verify, export, pictures.

It may import `scoring` and what that may import.
"""
