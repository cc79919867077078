"""The tests of this room are served the demo."""

from tests.support.fixtures import ann, latchkey_options, site, visitor

__all__ = ["ann", "latchkey_options", "site", "visitor"]
