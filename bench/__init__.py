"""Latchkey beside other ways to share a session, measured: `python -m bench`."""
