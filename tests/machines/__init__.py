"""Tests on whole machines: an empty Debian or Ubuntu, and the files of the container.

They need root, debootstrap and the archives of the systems, and take minutes each.
`tox run -e machines` runs them; `pytest` alone does not.
"""
