"""One way to ask a model: `Model.ask(conversations) -> replies`, with several backends.

It may import `embedded` and what that may import.
"""
