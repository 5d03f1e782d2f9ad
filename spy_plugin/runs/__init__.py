"""What a run was and how it resumes: metadata, identity, its files, shards and their merging.

It may import `models` and what that may import.
"""
