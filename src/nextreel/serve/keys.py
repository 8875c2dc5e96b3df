"""API keys: random, shown once, kept as hashes in a file that may change while the server runs.

    {"keys": [{"name": "app", "role": "write", "sha256": "…", "created_at": "…"}]}

A key has 256 random bits, so that a plain hash is as good as a slow one: there is nothing to guess.
"""

import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from nextreel.durable import sync, take_place
from nextreel.errors import SettingsError
from nextreel.locks import changing

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_PREFIX = "nr_"
_LOOK_SECONDS = 1.0
#: What is seen of a file that is not there: time and size.
_NO_FILE = (0, 0)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """A key, by its hash."""

    name: str
    role: Role
    sha256: str
    created_at: str


class Keys:
    """The keys of a file, read anew within a second after it has changed. Raises `SettingsError` for a damaged one."""

    def __init__(self, path: Path):
        self._path = path
        self._looked = 0.0
        self._seen: tuple[int, int] | None = None
        self._known: dict[str, Key] = {}
        self.look()

    @property
    def needed(self) -> bool:
        """Whether there is a file of keys, and requests need one: also where the last was revoked."""
        self.look()
        return self._seen != _NO_FILE

    def find(self, key: str) -> Key | None:
        """Return what is known of a key."""
        digest = _hashed(key)
        found = self._known.get(digest)
        return found if found is not None and hmac.compare_digest(found.sha256, digest) else None

    def look(self) -> None:
        """Read the file where it has changed. One that cannot be read leaves what was known."""
        now = time.monotonic()
        if self._seen is not None and now < self._looked + _LOOK_SECONDS:
            return
        self._looked = now
        try:
            status = self._path.stat()
            seen = status.st_mtime_ns, status.st_size
        except FileNotFoundError:
            seen = _NO_FILE
        except OSError as error:
            if self._seen is None:
                raise SettingsError(f"{self._path} holds no keys that can be read: {error}") from None
            _LOG.error("%s; the keys that were known stay", error)
            return
        if seen == self._seen:
            return
        try:
            self._known = {key.sha256: key for key in read_keys(self._path)}
        except SettingsError as error:
            if self._seen is None:
                raise
            _LOG.error("%s; the keys that were known stay", error)
        self._seen = seen


def read_keys(path: Path) -> list[Key]:
    """Return the keys of a file; none where it is not there. Raises `SettingsError` where it is damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return [Key(**key) for key in found["keys"] if key["role"] in ROLES]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise SettingsError(f"{path} holds no keys that can be read: {error}") from None


def add_key(path: Path, name: str, role: Role) -> str:
    """Make a key, and return it: it is not kept. Raises `SettingsError` where the name has one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with changing(path.parent):
        keys = read_keys(path)
        if any(key.name == name for key in keys):
            raise SettingsError(f"there is a key named {name!r} already; revoke it first")
        made = _PREFIX + secrets.token_urlsafe(32)
        _write(path, [*keys, Key(name, role, _hashed(made), datetime.now(UTC).isoformat(timespec="seconds"))])
    return made


def revoke_key(path: Path, name: str) -> None:
    """Have a key forgotten. Raises `SettingsError` where there is none of that name."""
    with changing(path.parent):
        keys = read_keys(path)
        if all(key.name != name for key in keys):
            raise SettingsError(f"there is no key named {name!r}")
        _write(path, [key for key in keys if key.name != name])


def _write(path: Path, keys: list[Key]) -> None:
    """Replace the file, for its owner's eyes alone."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"keys": [asdict(key) for key in keys]}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    take_place(fresh, path)
    sync(path.parent)


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
