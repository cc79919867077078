"""The commands of operators on accounts and sessions: how they reach a site, ask and show.

Imports accounts, application, extensions, ops, settings, stores and common.
"""
