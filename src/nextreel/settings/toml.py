"""TOML: a user's file read, whatever mark its editor wrote first; settings as a settings file."""

import codecs
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextreel.settings.sections import FREE_TABLES, Settings

#: What can hold secrets stays where it is.
_KEPT_BACK = {section: {table} for section, table in FREE_TABLES}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Windows' Notepad writes the mark, PowerShell 5 writes UTF-16. Raises OSError, UnicodeDecodeError or
    `tomllib.TOMLDecodeError`.
    """
    data = path.read_bytes()
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    return tomllib.loads(text.replace("\r\n", "\n"))


def as_toml(settings: Settings, always: Iterable[str] = ()) -> str:
    """Return the settings that are not the defaults as TOML, which `nextreel.settings.load` reads to the same.

    Those of ``always``, by names as ``train.factors``, are written whatever they are, those of `FREE_TABLES`, which can
    hold secrets, never: where there are any, a comment says so.
    """
    values = settings.model_dump(exclude_defaults=True, exclude_none=True, exclude=_KEPT_BACK)
    for name in always:
        section, key = name.split(".")
        values.setdefault(section, {})[key] = getattr(getattr(settings, section), key)
    held = [f"{s}.{t}" for s, names in _KEPT_BACK.items() for t in names if getattr(getattr(settings, s), t)]
    lines = [f"# Not here, since it can hold secrets: {name}. Set it as before." for name in held]
    return "\n".join([*lines, *_table(values, ())]) + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table: its header, its own values, then the tables within."""
    own = {name: value for name, value in values.items() if not isinstance(value, dict)}
    if path and own:
        yield f"\n[{'.'.join(path)}]"
    for name, value in own.items():
        yield f"{name} = {_value(value)}"
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _table(value, (*path, name))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, int | float):
        return repr(value)
    # JSON's strings are TOML's, but for a character that TOML has escaped and JSON as it is.
    text = str(value) if isinstance(value, Path) else value
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
