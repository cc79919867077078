"""Long tests: faults, crashes, random histories and nights. docs/reliability.md tells of them.

`tox run -e reliability` runs them, or pytest with this folder on its command line.
"""
