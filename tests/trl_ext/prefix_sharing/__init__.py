"""Layouts, collation and the trainers on shared prefixes."""
