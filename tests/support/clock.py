"""A clock that tests set: that of the test kit."""

from app.testing import MovableClock as Clock

__all__ = ["Clock"]
