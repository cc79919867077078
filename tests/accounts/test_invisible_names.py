"""Names look different where they are different."""

from __future__ import annotations

import pytest

from app.accounts.passwords import InvalidAccount, clean_name


@pytest.mark.parametrize(
    "name",
    [
        "\u3164",
        "\u115f",
        "\u2800",
        "m\u034fax",
        "max\ufe0f",
        "\U000e0100max",
        "max\u17b4",
        "\ue000",
    ],
)
def test_a_name_has_no_letters_that_show_nothing(name: str) -> None:
    """Unicode's default ignorables are not all of category Cf: such a name passes for another's."""
    with pytest.raises(InvalidAccount):
        clean_name(name)
