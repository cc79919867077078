"""How a site goes to another release, and back: the command `python3 -m app.release`.

Imports common. Neither needs a package: it runs before a release has its packages, and when the
release that is installed does not run.
"""
