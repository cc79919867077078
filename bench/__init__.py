"""Measure Latchkey beside other ways to share a session between pages and sockets: `python -m bench`."""
