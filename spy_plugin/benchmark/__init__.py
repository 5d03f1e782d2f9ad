"""What is asked: records, labels, the protocol, samples, reference policies, SPY-Tune rows.

It may import `registry` and what that may import.
"""
