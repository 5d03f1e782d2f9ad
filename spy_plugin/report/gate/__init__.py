"""The gate: rules on the figures of a run, each passed, failed, or not to be told from the data.

`rules` says what may be demanded, `decide` applies it, `render` writes JUnit XML and Markdown.
"""
