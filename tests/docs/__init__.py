"""Every command of the documentation, run as printed."""
