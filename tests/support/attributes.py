"""How an object keeps its attributes."""

from __future__ import annotations

import gc


def has_dict(instance: object) -> bool:
    """Tell whether Python keeps the object's attributes in a dict.

    It does so once code has read `__dict__`, and for objects with many attributes. With a dict,
    Python 3.11 needs more than twice as long to read one. This function reads `__dict__` itself.
    """
    before = gc.get_referents(instance)
    attributes = vars(instance)
    return any(found is attributes for found in before)
