"""The official release on this machine: prepare, verify and export it, and open its pictures.

It may import `scoring` and what that may import.
"""
