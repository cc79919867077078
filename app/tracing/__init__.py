"""Traces of pages, events and calls of stores, sent by OpenTelemetry; needs the extra `tracing`.

Imports stores and common. Nothing of it is imported unless --tracing is set.
"""
