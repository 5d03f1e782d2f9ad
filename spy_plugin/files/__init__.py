"""Files of any kind: JSONL, JSON, cache folders, archives, downloads.

It may import nothing of this package but `errors`.
"""
