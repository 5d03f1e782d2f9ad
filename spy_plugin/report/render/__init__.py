"""One `Report`, several renderers."""
