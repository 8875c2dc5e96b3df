"""The one place that reads configuration: flag > environment > file > default.

Every setting has a dotted name, ``kafka.bootstrap``. In the environment it is ``NEXTREEL_KAFKA_BOOTSTRAP``, in the
file (``nextreel.toml``, or ``--config``) the key ``bootstrap`` of the table ``[kafka]``, and on the command line
``--set kafka.bootstrap=…``. Client settings of librdkafka go through untouched:
``NEXTREEL_KAFKA_CLIENT_SECURITY_PROTOCOL=SASL_SSL`` is its ``security.protocol``.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from nextreel.errors import SettingsError
from nextreel.settings.sections import FREE_TABLES, Settings
from nextreel.settings.toml import read_toml

PREFIX = "NEXTREEL_"
#: Variables that ``./run`` and the tests read themselves.
_OUTSIDE = {"NEXTREEL_CONFIG", "NEXTREEL_VENV", "NEXTREEL_TEST_KAFKA_HOME"}

#: Variables that Kubernetes and Docker links give every container beside a service named nextreel.
_SERVICE_LINK = re.compile(r"NEXTREEL_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


def load(
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Read the settings: ``flags`` (by dotted name) over ``environ`` over ``file`` over the defaults.

    ``file`` defaults to ``$NEXTREEL_CONFIG``, then to ``nextreel.toml`` where there is one. Raises `SettingsError`
    with the key, the value and what would be right.
    """
    environ = os.environ if environ is None else environ
    origins: dict[str, str] = {}
    values = _from_file(file or _default_file(environ), origins)
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and name not in _OUTSIDE and not _SERVICE_LINK.fullmatch(name):
            key = _key_of_variable(name)
            _put(values, key, value, name)
            origins[".".join(key)] = name
    for dotted, value in (flags or {}).items():
        _put(values, _key_of_flag(dotted), value, f"--set {dotted}")
        origins[dotted] = f"--set {dotted}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from None


def variable_of(key: str) -> str:
    """Return the environment variable that sets a key; of a free table, the one that sets an entry of it."""
    entry = "_<NAME>" if tuple(key.split(".")) in FREE_TABLES else ""
    return PREFIX + key.replace(".", "_").upper() + entry


def _default_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("NEXTREEL_CONFIG"):
        return Path(named)
    return Path("nextreel.toml") if Path("nextreel.toml").exists() else None


def _from_file(file: Path | None, origins: dict[str, str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        values = read_toml(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error}") from None
    for section, table in FREE_TABLES:
        within = values.get(section)
        if isinstance(within, dict) and isinstance(within.get(table), dict):
            within[table] = dict(_flat(within[table]))
    origins[""] = str(file)
    return values


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a free table's entries as text: to TOML an unquoted ``security.protocol`` is a table within a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else str(value)


def _key_of_variable(name: str) -> tuple[str, ...]:
    """Return the dotted path that an environment variable sets, taking the longest section name that fits."""
    rest = name.removeprefix(PREFIX).lower()
    model: type[BaseModel] = Settings
    path: tuple[str, ...] = ()
    while True:
        if rest in model.model_fields:
            return (*path, rest)
        step = max((f for f in model.model_fields if rest.startswith(f + "_")), key=len, default=None)
        annotation = model.model_fields[step].annotation if step else None
        if step is None:
            raise SettingsError(f"{name} sets nothing: no setting has that name. `nextreel settings` lists them.")
        path, rest = (*path, step), rest.removeprefix(step + "_")
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        else:  # a free table: its keys have dots where the variable has underscores
            return (*path, rest.replace("_", "."))


def _key_of_flag(dotted: str) -> tuple[str, ...]:
    for section, table in FREE_TABLES:
        prefix = f"{section}.{table}."
        if dotted.startswith(prefix):
            return section, table, dotted.removeprefix(prefix)
    return tuple(dotted.split("."))


def _put(values: dict[str, Any], key: tuple[str, ...], value: str, origin: str) -> None:
    for depth, step in enumerate(key[:-1], 1):
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            section = ".".join(key[:depth])
            hidden = isinstance(values, list) or _may_hold_secrets(section)
            given = _kind(section, values) if hidden else repr(values)
            raise SettingsError(
                f"{origin} sets {'.'.join(key)}, but {section} was given as {given}: it is no table{_advice(section)}"
            )
    values[key[-1]] = value


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(step) for step in problem["loc"])
        origin = _origin(key, origins)
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key} (from {origin}) is no setting; `nextreel settings` lists them all")
        elif problem["type"] in ("model_type", "dict_type"):
            lines.append(
                f"{key} (from {origin}) must be a table, [{key}], not {_kind(key, problem['input'])}{_advice(key)}"
            )
        else:
            hidden = isinstance(problem["input"], dict | BaseModel) or _may_hold_secrets(key)
            given = "" if hidden else f" = {problem['input']!r}"
            lines.append(f"{key}{given} (from {origin}): {problem['msg'].removeprefix('Value error, ')}{_advice(key)}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def _kind(section: str, given: Any) -> str:
    """Return what a section was given as in place of a table."""
    if not isinstance(given, list):
        return "a single value"
    return f"an array of tables, [[{section}]]" if given and all(isinstance(g, dict) for g in given) else "an array"


def _may_hold_secrets(key: str) -> bool:
    """Tell whether a key is a free table, lies in one or holds one: what it was given is not for showing."""
    tables = [".".join(table) + "." for table in FREE_TABLES]
    return any(table.startswith(f"{key}.") or key.startswith(table) for table in tables)


def _advice(key: str) -> str:
    if tuple(key.split(".")) not in FREE_TABLES:
        return ""
    return f"; set its entries one by one, as {variable_of(key)}=… or --set {key}.<name>=…"


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Return what set a key: the key itself, something in it (where it is a table), or the file."""
    inside = [origin for name, origin in origins.items() if name == key or name.startswith(key + ".")]
    return ", ".join(inside) or origins.get("", "default")
