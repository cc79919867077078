"""The modules that a site serves; the commands load them only if they need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec


class Product(NamedTuple):
    """What `make_app` needs of a site, besides its settings."""

    modules: Sequence[str]  # dotted names
    data_type: type[msgspec.Struct]  # the data of its sessions


#: Imports handlers/, which takes half a second; raises InvalidModule.
LoadProduct = Callable[[], Product]
