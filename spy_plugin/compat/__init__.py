"""What lets other packages work where they would not.

It may import `errors` and nothing else of this package; each module is called by name.
"""
