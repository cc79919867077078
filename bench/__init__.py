"""A benchmark of Latchkey and of other ways to share a session; run `python -m bench`."""
