"""What makes other packages work where they do not: each module is called for by name.

It may import nothing of this package but `errors`.
"""
