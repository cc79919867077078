"""The commands of operators on accounts and sessions: how they reach a site, ask and show.

Imports application, accounts, database, extensions, operator, ops, settings, stores and common.
"""
