"""Places: written and read back."""

import pytest

from nextreel.errors import InputError
from nextreel.lake.place import Place


@pytest.mark.parametrize("place", [Place("users", 0, 17), Place("a.b_c-d", 12, 2**59), Place("a/b", 1, 2)], ids=str)
def test_read_back(place: Place) -> None:
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "users",
        "users/0",
        "/0/1",
        "users/-1/2",
        "users/0/x",
        "users/0/",
        "users/0/1.5",
        "users/٣/1",
        "u/0/" + "9" * 19,
    ],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(InputError, match="is no place: that is topic/partition/offset"):
        Place.parse(text)
