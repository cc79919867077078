"""How a site goes to another release, and back: the command `python3 -m app.release`.

It imports the standard library and `app.common`, which needs no package either: it runs before a
release has its packages, and when the release that is installed does not run.
"""
