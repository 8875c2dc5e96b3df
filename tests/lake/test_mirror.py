"""A lake in an object store, on a server that speaks S3: each row once, whatever is killed; others' objects stay."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.lake.brought import bring

from nextreel.cli import main
from nextreel.errors import InputError, LakeError
from nextreel.lake import mirror as module
from nextreel.lake.compact import compact
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Change
from nextreel.lake.locks import mirrorer
from nextreel.lake.mirror import MANIFEST, Store, mirror
from nextreel.settings import UpkeepSettings

TODAY = date(2026, 1, 31)
KEY, SECRET = "anybody-at-all", "anything-at-all"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server that speaks S3 listens, which keeps its buckets as folders."""
    root = tmp_path_factory.mktemp("buckets")
    (root / "lakes").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command: list[str | Path] = [
        Path(sys.executable).with_name("rclone"),
        "serve",
        "s3",
        "--config",
        "/dev/null",
        "--no-cleanup",
    ]
    with subprocess.Popen(
        [*command, "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", root],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        try:
            assert any("Starting s3 server" in line for line in server.stderr)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.fixture
def address(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of its own in a bucket; who is to have access is in the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # or Arrow sends some that the server does not know
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return f"s3a://lakes/films-{uuid4().hex[:12]}/lake"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    for batch in range(3):
        bring(made, batch)
    return made


@pytest.fixture(autouse=True)
def nobody_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.lake.compact._LISTING_SECONDS", 0.0)


def opened(address: str) -> tuple[pafs.FileSystem, str]:
    filesystem, root = pafs.FileSystem.from_uri(address.replace("s3a://", "s3://"))
    return filesystem, root


def by_glob(address: str) -> list[int]:
    """The rows that a reader without the manifest finds."""
    filesystem, root = opened(address)
    found = pads.dataset(f"{root}/interactions", filesystem=filesystem, partitioning="hive").to_table()
    assert set(found["date"].to_pylist()) <= {"2026-01-31"}
    return sorted(found["n"].to_pylist())


def by_manifest(address: str) -> list[int]:
    filesystem, root = opened(address)
    with filesystem.open_input_stream(f"{root}/{MANIFEST}") as stream:
        files = json.loads(stream.read())["files"]
    found = [pq.read_table(f"{root}/{f['path']}", filesystem=filesystem, partitioning=None) for f in files]
    assert [len(table) for table in found] == [f["rows"] for f in files]
    return sorted(n for table in found for n in table["n"].to_pylist())


def test_what_is_new_is_copied(lake: Lake, address: str) -> None:
    done = mirror(lake, Store(address))
    size = sum(f.stat().st_size for f in lake.files("interactions"))
    assert (done.copied, done.bytes, done.deleted, done.files) == (6, size, 0, 6)
    assert by_glob(address) == by_manifest(address) == list(range(30))
    assert mirror(lake, Store(address)).copied == 0
    bring(lake, 3)
    told: list[tuple[int, int]] = []
    assert mirror(lake, Store(address), lambda n, of: told.append((n, of))).copied == 2
    assert told == [(1, 2), (2, 2)]
    assert by_glob(address) == by_manifest(address) == list(range(40))


def test_it_follows_merges_and_removals_and_leaves_what_is_not_its_own(lake: Lake, address: str) -> None:
    filesystem, root = opened(address)
    mirror(lake, Store(address))
    others = [f"{root}/interactions/date=2026-01-31/mine.txt", f"{root}/notes.txt", f"{root}2/a.parquet"]
    for other in others:
        with filesystem.open_output_stream(other) as stream:
            stream.write(b"not nextreel's")
    bring(lake, 3)
    compact(lake, UpkeepSettings(), TODAY, least=3)
    done = mirror(lake, Store(address))
    assert (done.copied, done.deleted, done.files) == (1, 6, 1)
    assert by_manifest(address) == list(range(40))
    bring(lake, 4, day="2026-02-15")
    compact(lake, UpkeepSettings(interactions_days=7), date(2026, 2, 15), least=3)
    done = mirror(lake, Store(address))
    assert (done.copied, done.deleted, done.files) == (2, 1, 2)
    assert by_manifest(address) == list(range(40, 50))
    assert all(info.type == pafs.FileType.File for info in filesystem.get_file_info(others))


def test_files_that_are_merged_meanwhile(lake: Lake, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Store.put
    compacted: list[Change] = []

    def first_merge(store: Store, source: Lake, path: str) -> None:
        if not compacted:
            compacted.extend(compact(lake, UpkeepSettings(), TODAY, least=3))
        put(store, source, path)

    monkeypatch.setattr(module, "_AT_ONCE", 1)
    monkeypatch.setattr(Store, "put", first_merge)
    assert mirror(lake, Store(address)).files == 1
    assert compacted
    assert by_glob(address) == by_manifest(address) == list(range(30))


KILLED = """
import os, signal, sys
from pathlib import Path
from nextreel.lake import mirror as m
from nextreel.lake.layout import Lake

survived = int(sys.argv[3])

def counted(function):
    def call(*args):
        global survived
        if survived == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        survived -= 1
        return function(*args)
    return call

for name in ("put", "write", "delete"):
    setattr(m.Store, name, counted(getattr(m.Store, name)))
m._AT_ONCE = 1
m.mirror(Lake(Path(sys.argv[1])), m.Store(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="nothing is merged on Windows")
def test_killed_anywhere_and_run_again(tmp_path: Path, address: str) -> None:
    """Every request that changes something is the last one once; what was killed between is merged by the next run."""
    codes: list[int] = []
    while not codes or codes[-1]:
        lake, at = Lake(tmp_path / f"lake-{len(codes)}"), f"{address}-{len(codes)}"
        for batch in range(2):
            bring(lake, batch)
        mirror(lake, Store(at))
        bring(lake, 2)
        compact(lake, UpkeepSettings(), TODAY, least=2)
        bring(lake, 3)
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(lake.root), at, str(len(codes))], capture_output=True, text=True
        )
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        codes.append(child.returncode)
        assert set(by_glob(at)) >= set(range(20))
        assert by_manifest_or_not(at) in (list(range(20)), list(range(40)), None)
        bring(lake, 4)
        compact(lake, UpkeepSettings(), TODAY, least=2)
        mirror(lake, Store(at))
        assert by_glob(at) == by_manifest(at) == list(range(50))
    assert len(codes) == 7  # two manifests, three files, what is deleted, and none


def by_manifest_or_not(address: str) -> list[int] | None:
    """The rows by the manifest, None where a file of it is gone."""
    try:
        return by_manifest(address)
    except FileNotFoundError:
        return None


def test_a_damaged_file_is_not_spread(lake: Lake, address: str) -> None:
    path = lake.files("interactions")[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LakeError, match=rf"{path.name} has .* bytes of .*: nothing more is copied"):
        mirror(lake, Store(address))
    assert Store(address).sizes() == {}


def test_a_file_that_is_missing(lake: Lake, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.3)
    mirror(lake, Store(address))
    bring(lake, 3)
    path = lake.files("interactions")[-1]
    path.unlink()
    with pytest.raises(LakeError, match=rf"{path.name} is missing; `nextreel lake verify`"):
        mirror(lake, Store(address))
    assert by_manifest(address) == list(range(30))


def test_one_place_is_one_lakes(lake: Lake, address: str, tmp_path: Path) -> None:
    mirror(lake, Store(address))
    other = Lake(tmp_path / "other")
    bring(other, 0, query="9876543210-query")
    with pytest.raises(LakeError, match="the mirror of another lake, whose ingest is 0123456789-query"):
        mirror(other, Store(address))
    assert by_manifest(address) == list(range(30))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"files": [1]}', b'{"files": [], "pending": [], "x": 1}', b"\xff"]
)
def test_what_is_no_manifest_is_not_overwritten(lake: Lake, address: str, content: bytes) -> None:
    store = Store(address)
    store.write(MANIFEST, content)
    with pytest.raises(LakeError, match=f"{MANIFEST} is no manifest"):
        mirror(lake, store)
    assert store.sizes() == {MANIFEST: len(content)}


@pytest.mark.parametrize(
    "given", ["lake", "/mnt/lake", "file:///mnt/lake", "s3://", "https://bucket/lake", "hdfs://host/lake", ""]
)
def test_what_is_no_object_store(given: str) -> None:
    with pytest.raises(InputError, match="is no address in an object store"):
        Store(given)


@pytest.mark.parametrize(
    "given",
    [
        "s3://key:topsecret@bucket/lake",
        "s3://topsecret@bucket/lake",
        "s3://bucket/lake?secret_key=topsecret",
        "abfss://c@a.dfs.core.windows.net/l?sas_token=topsecret",
        "abfss://c@a.dfs.core.windows.net/l#topsecret",
        "https://key:topsecret@minio/lake",
        "https://a.blob.core.windows.net/c/lake?sig=topsecret",
    ],
)
def test_credentials_do_not_belong_in_an_address(given: str) -> None:
    with pytest.raises(InputError, match="credentials and all else belong in the environment") as raised:
        Store(given)
    assert "topsecret" not in str(raised.value)


def test_an_endpoint_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio.example")
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL is no URL"):
        Store("s3://bucket/lake")


def test_an_older_copy_of_the_lake_does_not_take_its_mirror_back(lake: Lake, address: str, tmp_path: Path) -> None:
    shutil.copytree(lake.root, tmp_path / "copy")
    bring(lake, 3)
    mirror(lake, Store(address))
    with pytest.raises(LakeError, match=r"up to 3, and .*copy up to 2: this is an older copy"):
        mirror(Lake(tmp_path / "copy"), Store(address))
    assert by_glob(address) == by_manifest(address) == list(range(40))


def test_two_at_a_time(lake: Lake, address: str) -> None:
    with mirrorer(lake), pytest.raises(LakeError, match="is being mirrored already"):
        mirror(lake, Store(address))


def run(home: Path, *arguments: str) -> Any:
    return CliRunner().invoke(main, ["--set", f"home={home}", "lake", "mirror", *arguments])


def test_the_command(lake: Lake, address: str, tmp_path: Path) -> None:
    done = run(tmp_path, address)
    assert done.exit_code == 0, done.output
    assert "6 files" in done.stdout
    assert "0 deleted; 6 are there" in done.stdout
    assert json.loads(run(tmp_path, address, "--json").stdout) == {"copied": 0, "bytes": 0, "deleted": 0, "files": 6}


def test_a_bucket_that_is_not_there(lake: Lake, address: str, tmp_path: Path) -> None:
    done = run(tmp_path, "s3://there-is-none/lake")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "s3://there-is-none/lake: " in done.stderr
    assert "NoSuchBucket" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_does_not_answer(
    lake: Lake, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    done = run(tmp_path, address)
    assert done.exit_code == 1
    assert "error sending request" in done.stderr
