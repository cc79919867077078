"""Traces of pages, events and calls of stores, sent by OpenTelemetry; needs the extra `tracing`.

May import `app.common` and `app.stores`. Nothing of it is imported unless --tracing is set.
"""
