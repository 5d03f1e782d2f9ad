"""Results that travel: bundles that others can check, and the formats of the Hugging Face hub.

It may import `report` and what that may import.
"""
