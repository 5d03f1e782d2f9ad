"""Files of any kind: JSONL, JSON, atomic and locked writing, the cache folder, archives, downloads.

It may import nothing of this package but `errors`.
"""
