"""Bytes of strangers: whatever they are, a terminal only shows them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.cli.strangers import escaped, indented, shown


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"plain", "plain"),
        ("línea 🎬".encode(), "línea 🎬"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"a\tb\r\n", "a\\tb\\r\\n"),
        (b"\x00\x7f", "\\x00\\x7f"),
        (b"\xff\xfe{", "\\xff\\xfe{"),
        ("\u009b31m".encode(), "\\u009b31m"),
        ("\u202eesrever\u2028".encode(), "\\u202eesrever\\u2028"),
        ("\U000e0041".encode(), "\\U000e0041"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"[red]x[/red] :smile:", "[red]x[/red] :smile:"),
    ],
)
def test_a_line(raw: bytes, text: str) -> None:
    assert shown(raw, 100) == text


def test_a_line_ends_where_it_is_to_end() -> None:
    assert shown(b"x" * 10, 10) == "x" * 10
    assert shown(b"x" * 11, 10) == "x" * 9 + "…"
    assert shown(b"x" * 1_000_000, 10) == "x" * 9 + "…"
    film = "🎬".encode()
    assert shown(film * 10, 10) == "🎬" * 10
    assert shown(film * 11, 10) == "🎬" * 9 + "…"  # cut between characters, not within one


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.integers(2, 80),
)
def test_nothing_but_what_is_for_showing(raw: bytes, limit: int) -> None:
    assert shown(raw, limit).isprintable()
    assert len(shown(raw, limit)) <= limit
    assert all(line.isprintable() for line in indented(raw, limit).split("\n"))
    assert len(indented(raw, limit)) <= limit


def test_json_is_broken_into_lines_and_nothing_else() -> None:
    raw = b'{"a" :1.50,"a":[ ],"b":[1,{"c,{":"\\u202e\\"}"}],"d":{ },"e":"\xe2\x80\xae"}'
    expected = """{
  "a": 1.50,
  "a": [ ],
  "b": [
    1,
    {
      "c,{": "\\u202e\\"}"
    }
  ],
  "d": { },
  "e": "\\u202e"
}"""
    assert indented(raw, 1_000) == expected
    assert indented(b"[1,", 1_000) == "[1,"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_means_the_same_in_lines(value: object) -> None:
    assert json.loads(indented(json.dumps(value).encode(), 10_000)) == value


def test_what_is_deep_or_large_stays_small() -> None:
    deep = b"[" * 1_000 + b"1" + b",1" * 300_000 + b"]" * 1_000
    assert len(indented(deep, 20_000)) == 20_000
    assert indented(deep, 20_000).endswith("…")
    assert max(map(len, re.split("\n", indented(b"[" * 500 + b"]" * 500, 10**6)))) < 50


def test_text_is_escaped_as_bytes_are() -> None:
    assert escaped("a\x1b\u202e🎬") == "a\\x1b\\u202e🎬"
