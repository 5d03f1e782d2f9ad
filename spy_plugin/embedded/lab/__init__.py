"""The lab's benchmark: drawn cards, questions about them, and the splits of both."""
