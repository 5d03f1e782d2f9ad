"""SPY-Bench: does a vision-language model keep to what its user calls private?"""

__version__ = "0.1.0"
