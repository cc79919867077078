"""--reload, for development: the program starts anew when its files change.

A supervisor listens and watches files; a child serves. Imports ops, settings and common.
"""
