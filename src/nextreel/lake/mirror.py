"""The lake's tables once more, in an object store: for readers that are not on this machine.

    <address>/<table>/date=YYYY-MM-DD/<file>.parquet     the files that the lake's records have, under the same names
    <address>/_ingest/mirror.json                        which they are: the mirror's manifest

A lake is committed by renames, which object stores do not have; a mirror needs none. An object is there whole or not
at all, and its name never gets other content. So the order does it:

1. the manifest announces what is about to come;
2. the new files are put;
3. the manifest says that they are there, and which have gone: merged into others, or removed, since;
4. those are deleted.

Killed anywhere, the next run does the rest. Whoever reads by the manifest has each row once at any time (or an error
where a file went meanwhile: then there is a new manifest); whoever reads by a plain glob has merged rows twice between
2 and 4. What the manifest never had is another's, and is left alone.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from nextreel.errors import InputError, LakeError
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import LakeFile, read_ledger, read_record
from nextreel.lake.locks import mirrorer

MANIFEST = "_ingest/mirror.json"
#: By scheme, how the environment's variables of that store begin.
_SCHEMES = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_", "abfs": "AZURE_", "abfss": "AZURE_"}
#: How long a request may take where the environment does not say: the client's own 30 s are too short for a part of a
#: large file on a slow line. It has no other way to be told that leaves its further variables as they are.
_REQUEST = "1h"
#: Requests that wait for their answers at the same time.
_AT_ONCE, _PARTS_AT_ONCE = 8, 2
#: So long a file may be between its record and its place, or the other way around.
_PATIENCE_SECONDS, _POLL_SECONDS = 5.0, 0.1


@dataclass(frozen=True)
class Mirrored:
    """What a run did, and how many files the mirror has now."""

    copied: int
    bytes: int
    deleted: int
    files: int


@dataclass(frozen=True)
class _Manifest:
    """``lake`` is the id of the ingest that fills it, ``pending`` what may be there without being of ``files``."""

    lake: str
    batch: int
    committed_at: str
    files: dict[str, LakeFile]
    pending: frozenset[str]


class Store:
    """A place in an object store. Credentials are the environment's, as the store's own tools have them.

    Raises `InputError` where the address is none, or has credentials in it.
    """

    def __init__(self, address: str):
        self.address = address
        parts = urlsplit(address)
        prefix = _SCHEMES.get(parts.scheme, "")
        place = r"([^@:]+@)?[^@:]*" if prefix == "AZURE_" else r"[^@:]*"
        if parts.query or parts.fragment or not re.fullmatch(place, parts.netloc):
            raise InputError("an address is a bucket and a folder: credentials and all else belong in the environment")
        if not prefix or not parts.netloc:
            raise InputError(
                f"{address!r} is no address in an object store, as s3://bucket/folder, gs://bucket/folder or "
                "abfss://container@account.dfs.core.windows.net/folder"
            )
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "") if prefix == "AWS_" else ""
        if endpoint and not re.match(r"https?://[^/]", endpoint):  # the client would panic
            raise InputError("AWS_ENDPOINT_URL is no URL, as https://host:port")
        os.environ.setdefault(f"{prefix}TIMEOUT", _REQUEST)
        with self._errors():
            self._store = from_url(address)

    def sizes(self) -> dict[str, int]:
        """Return the objects there are, with their bytes."""
        with self._errors():
            return {found["path"]: found["size"] for some in obstore.list(self._store) for found in some}

    def put(self, lake: Lake, path: str) -> None:
        """Copy a file. Raises `FileNotFoundError` where the lake does not have it any more."""
        with (lake.root / path).open("rb") as file, self._errors():
            obstore.put(self._store, path, file, max_concurrency=_PARTS_AT_ONCE)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; those that are not there do no harm."""
        with self._errors(), suppress(FileNotFoundError):
            obstore.delete(self._store, paths)

    def read(self, path: str) -> bytes | None:
        """Return an object's content, None where there is none."""
        with self._errors():
            try:
                return bytes(obstore.get(self._store, path).bytes())
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        """Put an object, whole."""
        with self._errors():
            obstore.put(self._store, path, content)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what the store says as a `LakeError`, without the client's own state behind it."""
        try:
            yield
        except (OSError, ValueError, BaseError) as error:
            said = " ".join(str(error).partition("\n\nDebug source:")[0].split())
            raise LakeError(f"{self.address}: {said}") from None


def mirror(lake: Lake, store: Store, tell: Callable[[int, int], None] = lambda done, of: None) -> Mirrored:
    """Make the mirror what the lake's records say now; ``tell`` is told how many files of how many are copied.

    Ingest and merging may go on meanwhile. Raises `LakeError` where the store refuses, the mirror is another lake's, a
    file of the lake is not as its record has it, or another process mirrors this lake.
    """
    with mirrorer(lake):
        identity = _identity(lake)
        before = _read(store)
        if before is not None and before.lake != identity:
            raise LakeError(
                f"{store.address} has the mirror of another lake, whose ingest is {before.lake}: choose another place"
            )
        old = before or _Manifest(identity, -1, "", {}, frozenset())
        there, n_copied, n_bytes = store.sizes(), 0, 0
        pending, until = old.pending, time.monotonic() + _PATIENCE_SECONDS
        while True:
            ledger = read_ledger(lake)
            if ledger.batch < old.batch:
                raise LakeError(
                    f"{store.address} has micro-batches up to {old.batch:,}, and {lake.root} up to {ledger.batch:,}: "
                    "this is an older copy of the lake that was mirrored. Choose another place for it."
                )
            missing = [f for f in ledger.files.values() if there.get(f.path) != f.bytes]
            if not missing:
                break
            _check(lake, missing)
            if not pending >= {f.path for f in missing}:
                pending |= {f.path for f in missing}
                _write(store, _Manifest(identity, old.batch, old.committed_at, old.files, pending))
            done = 0
            for done, file in enumerate(_put(lake, store, missing), start=1):
                there[file.path] = file.bytes
                n_copied, n_bytes = n_copied + 1, n_bytes + file.bytes
                tell(done, len(missing))
            if done:
                until = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > until:
                raise LakeError(f"{lake.root / missing[0].path} is missing; `nextreel lake verify` tells what else is")
            else:
                time.sleep(_POLL_SECONDS)
        gone = ((old.files.keys() | pending) - ledger.files.keys()) & there.keys()
        now = _Manifest(identity, ledger.batch, ledger.committed_at, ledger.files, frozenset(gone))
        if now != before:
            _write(store, now)
        if gone:
            store.delete(sorted(gone))
        return Mirrored(n_copied, n_bytes, len(gone), len(ledger.files))


def _identity(lake: Lake) -> str:
    """Return the id of the ingest that fills the lake, which its newest record has."""
    records = sorted(lake.commits.glob("*.json"))
    record = read_record(records[-1]) if records else None
    if record is None:
        raise LakeError(f"{lake.root} has no record of a micro-batch: nothing was ingested there")
    return str(record["query"])


def _read(store: Store) -> _Manifest | None:
    content = store.read(MANIFEST)
    if content is None:
        return None
    try:
        found: dict[str, Any] = json.loads(content)
        files = {f["path"]: LakeFile(**f) for f in found.pop("files")}
        return _Manifest(files=files, pending=frozenset(found.pop("pending")), **found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LakeError(f"{store.address}: {MANIFEST} is no manifest of a mirror: {error}") from None


def _write(store: Store, manifest: _Manifest) -> None:
    found = asdict(manifest) | {"pending": sorted(manifest.pending)}
    found["files"] = [asdict(f) for f in manifest.files.values()]
    store.write(MANIFEST, json.dumps(found).encode())


def _check(lake: Lake, files: Iterable[LakeFile]) -> None:
    """Raise `LakeError` where a file has another size than its record says. One that is not there may come or go."""
    for file in files:
        with suppress(FileNotFoundError):
            size = (lake.root / file.path).stat().st_size
            if size != file.bytes:
                raise LakeError(f"{lake.root / file.path} has {size:,} bytes of {file.bytes:,}: nothing more is copied")


def _put(lake: Lake, store: Store, files: Iterable[LakeFile]) -> Iterator[LakeFile]:
    """Copy files and yield those that are copied, several at once."""

    def put(file: LakeFile) -> LakeFile | None:
        try:
            store.put(lake, file.path)
        except FileNotFoundError:
            return None
        return file

    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for future in as_completed([pool.submit(put, file) for file in files]):
            if (file := future.result()) is not None:
                yield file
    finally:
        pool.shutdown(cancel_futures=True)
