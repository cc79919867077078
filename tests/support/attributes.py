"""How an object keeps its attributes."""

from __future__ import annotations

import gc


def has_dict(instance: object) -> bool:
    """Whether somebody has asked for the object's `__dict__`, or it has too many attributes.

    Python 3.11 needs more than twice as long to read an attribute from then on. To ask here makes
    the answer true for good.
    """
    before = gc.get_referents(instance)
    attributes = vars(instance)
    return any(found is attributes for found in before)
