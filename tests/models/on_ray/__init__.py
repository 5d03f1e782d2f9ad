"""Engines on Ray, with a fake model on clusters of this machine."""
