"""A benchmark from one's own pictures: writing its form, checks, drafts, review, import.

Reading a form is `spy_plugin.benchmark.own_form`, since hosts and training open one, too. This
folder may import `report` and what that may import.
"""
