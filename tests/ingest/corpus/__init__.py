"""A corpus of nasty documents, written for these tests: what is JSON and what is none, and texts that break things.

What is JSON here is so by RFC 8259, and not because a parser has said so. In ``json.txt``, ``no_json.txt`` and
``times.txt`` a line is a document, in ``texts.json`` an entry is a text.
"""

import json
from pathlib import Path

_HERE = Path(__file__).parent

#: What is JSON by RFC 8259.
JSON_TEXTS = (_HERE / "json.txt").read_text("utf-8").removesuffix("\n").split("\n")

#: What is none, or says a number or a text that nobody can hold.
NO_JSON_TEXTS = (_HERE / "no_json.txt").read_text("utf-8").removesuffix("\n").split("\n")

#: Texts that a field may hold, and that come out as they went in. None of them means null.
TEXTS: list[str] = [
    *json.loads((_HERE / "texts.json").read_text("utf-8")),
    "x" * 10_000, "é" * 5_000, "\U0001f3ac" * 1_000, "\\" * 1_000, '"' * 1_000, "\x00" * 100,
]  # fmt: skip

#: JSON that a line of text cannot hold.
_JSON_BYTES = [
    b"[\n1\n]", b'{\r\n\t"a": 1\r\n}', b"\n{}\n", b"\r\n[]\r\n", b"\t\n\r 1 \r\n\t", b"0." + b"3" * 400, b"9" * 300,
    b"[" * 1_000 + b"]" * 1_000, b'{"a":' * 1_000 + b"1" + b"}" * 1_000, b"[" + b"0," * 5_000 + b"0]",
    b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(2_000)) + b"}", b'"' + b"x" * 50_000 + b'"',
    b'"' + rb"\u0041" * 10_000 + b'"', b"1" + b" " * 50_000,
]  # fmt: skip

#: What is no JSON, and mostly no text.
_NO_JSON_BYTES = [
    b"\x00", b"\x00\x00", b"{}\x00", b"\x00{}", b"{\x00}", b'"\x00"', b'"a\nb"', b'"a\r\nb"', b'"\x1b[31m"', b'"\x1f"',
    b"\n", b"\r\n", b" ", b"\x0b1", b"\x0c1", b"\xff", b"\xfe\xff", b"\xff\xfe{\x00}\x00", b"\x00{\x00}", b"\x80",
    b"\xc0\xaf", b'"\xc3"', b'"\xe2\x82"', b'"\xf0\x9f\x8e"', b'"\xed\xa0\x80"', b'"\xed\xb0\x80"',
    b'"\xf4\x90\x80\x80"', b'"\xf8\x88\x80\x80\x80"', b'"\xe9"', b'{"\xe9":1}', b'{"a":"\x93quoted\x94"}',
    b"\xef\xbb\xbf{}", b"\xef\xbb\xbf", b"\x1f\x8b\x08\x00", b"PAR1", b"Obj\x01", b"PK\x03\x04", b"%PDF-1.7",
    b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00\x01\x02id", b"\x80\x04\x95", b"\xa1bid", b"\x82\xa2id\xa1a",
    b"[" * 1_025 + b"]" * 1_025, b'{"a":' * 1_025 + b"1" + b"}" * 1_025, b"[" * 100_000, b'{"a":' * 50_000,
    b"[{}," * 10_000, b"1" + b"0" * 400, b"-1" + b"0" * 400, b"[" + b"1," * 10_000,
]  # fmt: skip

#: Event times: what ISO 8601 has and the contract does not, what only some parsers read, and what no clock shows.
TIMES = [
    *(_HERE / "times.txt").read_text("utf-8").removesuffix("\n").split("\n"),
    "2025-03-01T10:20:30Z\n", "2025-03-01T10:20:30Z\x00", "2025-03-01\t10:20:30Z", "9" * 5_000,
    "2025-03-01T10:20:30Z" + " " * 50,
]  # fmt: skip

JSON_DOCUMENTS = [*(text.encode() for text in JSON_TEXTS), *_JSON_BYTES]
NO_JSON_DOCUMENTS = [*(text.encode() for text in NO_JSON_TEXTS), *_NO_JSON_BYTES]
