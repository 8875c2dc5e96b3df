"""The star in memory, for figures within milliseconds: it follows the lake, the exports and the model store.

Files of the lake are read once, as they come. What is read again, as when files were merged, changes nothing: the
newest event of a user, a title or an interaction holds, in whatever order they are read, as training has it
(`nextreel.lake.tables.latest`, `nextreel.ratings.observed`). Whoever asks meanwhile sees what was there before.

An interaction is identified by its user, title, event type and id together. An event that is delivered or sent again
counts once; the same id of another user, or of another title as in files whose row numbers begin at 1 each, is another
interaction. So the newest ``rate`` rows of a user and title in ``interactions`` are what ``ratings`` has.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from nextreel.errors import was_interrupted
from nextreel.events.contract import TABLES, TITLE_TYPES, Verb
from nextreel.insight.export import PARQUET, exported_version
from nextreel.insight.star import STAR
from nextreel.insight.versions import model_tables
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import gone
from nextreel.lake.locks import names_kept
from nextreel.model.store import ModelStore
from nextreel.scratch import scratch_folder
from nextreel.settings import Settings

_THREADS = 2

_TABLES = """
CREATE OR REPLACE TABLE users (user_key INTEGER, user_id VARCHAR, username VARCHAR, country VARCHAR, age_group VARCHAR,
    subscribed DATE, cohort VARCHAR, age_rating VARCHAR, genres VARCHAR[], directors VARCHAR[], actors VARCHAR[],
    decades VARCHAR[], updated_at TIMESTAMP, sent_at TIMESTAMP, kafka_partition INTEGER, kafka_offset BIGINT);
CREATE OR REPLACE TABLE titles (title_key INTEGER, content_id VARCHAR, title VARCHAR, type VARCHAR, decade VARCHAR,
    age_rating VARCHAR, seasons INTEGER, episodes INTEGER, genres VARCHAR[], directors VARCHAR[], actors VARCHAR[],
    updated_at TIMESTAMP, sent_at TIMESTAMP, kafka_partition INTEGER, kafka_offset BIGINT);
CREATE OR REPLACE TABLE title_genres (title_key INTEGER, genre VARCHAR);
CREATE OR REPLACE TABLE title_people (title_key INTEGER, role VARCHAR, person VARCHAR);
CREATE OR REPLACE TABLE interactions (interaction_id VARCHAR, user_key INTEGER, title_key INTEGER,
    happened_at TIMESTAMP, month DATE, verb verb, percent_watched FLOAT, device VARCHAR, sent_at TIMESTAMP);
CREATE OR REPLACE TABLE ratings (user_key INTEGER, title_key INTEGER, rating FLOAT, rated_at TIMESTAMP, month DATE,
    sent_at TIMESTAMP, interaction_id VARCHAR);
CREATE OR REPLACE TABLE recommendations (user_key INTEGER, title_key INTEGER, rank INTEGER, predicted_rating FLOAT,
    model_version VARCHAR);
"""

_TIME = "make_timestamp(epoch_us({}))"
#: Kafka's timestamp, which orders events; without one that the lake keeps, an event is before all others.
_SENT = f"coalesce({_TIME}, TIMESTAMP '0001-01-01')"
_EVENT_ORDER = ("updated_at", "sent_at", "kafka_partition", "kafka_offset")
#: What identifies an interaction, and what decides between two events of one: by values alone, not by the order in
#: which they are read.
_INTERACTION_KEY = ("user_key", "title_key", "verb", "interaction_id")
_INTERACTION_ORDER = ("{}.happened_at", "{}.sent_at", "coalesce({}.percent_watched, -1)", "coalesce({}.device, '')")
_RATING_ORDER = ("rated_at", "sent_at", "interaction_id", "rating")


#: What refreshing leaves behind.
_TEMPORARY = ("arrived", "came", "newest", "newer", "fresh", "listed")


def _newest(of: str, order: Sequence[str]) -> str:
    """Return what keeps the last row of each ``of``."""
    return f"QUALIFY row_number() OVER (PARTITION BY {of} ORDER BY {', '.join(f'{c} DESC' for c in order)}) = 1"


#: How an event of the lake becomes a row of a dimension, but for its key.
_USER = f"""SELECT id AS user_id, nombre_usuario AS username, pais AS country, grupo_edad AS age_group,
    TRY_CAST(fecha_suscripcion AS DATE) AS subscribed, strftime(TRY_CAST(fecha_suscripcion AS DATE), '%Y-%m') AS cohort,
    clasificacion AS age_rating, generos AS genres, directores AS directors, actores AS actors,
    decadas_favoritas AS decades, {_TIME.format("timestamp")} AS updated_at,
    {_SENT.format("kafka_timestamp")} AS sent_at, kafka_partition, kafka_offset FROM arrived"""
_TITLE = f"""SELECT id AS content_id, titulo AS title, type, decada_lanzamiento AS decade, clasificacion AS age_rating,
    TRY_CAST(numero_temporadas AS INTEGER) AS seasons, TRY_CAST(numero_episodios AS INTEGER) AS episodes,
    generos AS genres, directores AS directors, actores AS actors, {_TIME.format("timestamp")} AS updated_at,
    {_SENT.format("kafka_timestamp")} AS sent_at, kafka_partition, kafka_offset FROM arrived"""
_INTERACTION = f"""SELECT a.id AS interaction_id, user_key, title_key, {_TIME.format("a.timestamp")} AS happened_at,
    evento::verb AS verb, porcentaje_visto::FLOAT AS percent_watched, dispositivo AS device,
    calificacion::FLOAT AS rating, {_SENT.format("a.kafka_timestamp")} AS sent_at FROM arrived a
    JOIN users u ON u.user_id = a.id_usuario JOIN titles t ON t.content_id = a.id_contenido"""


@dataclass(frozen=True)
class _Dimension:
    """A table of things of which the newest event holds."""

    table: str
    key: str
    id: str
    sql: str


_USERS = _Dimension("users", "user_key", "user_id", _USER)
_TITLES = _Dimension("titles", "title_key", "content_id", _TITLE)


class Warehouse:
    """The tables of a home, in memory. One thread refreshes them, any may ask."""

    def __init__(self, settings: Settings):
        self._lake = Lake(settings.lake.absolute())
        self._exports = settings.exports
        self._store = ModelStore(settings.models)
        self._refreshing = threading.Lock()
        self._spilled = ExitStack()
        spilled = self._spilled.enter_context(scratch_folder())
        self._database = duckdb.connect(
            config={
                "threads": _THREADS,
                "memory_limit": f"{settings.insight.memory_megabytes}MB",
                "temp_directory": str(spilled),
                "allocator_background_threads": True,
                "allocator_flush_threshold": "8MB",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        self._database.execute("ATTACH ':memory:' AS star (COMPRESS)")
        self._writer = self.cursor()
        #: Counts changes: who has asked at one need not ask again before the next.
        self.revision = 0
        self._known: tuple[Any, ...] = ()
        self._seen: dict[str, set[Path]] = {}
        self._exported: tuple[int, ...] = ()
        self._decided: tuple[Any, ...] = ()
        with self._transaction():
            self._make_tables()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._writer.close()
        self._database.close()
        self._spilled.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of the caller's own, with the star's tables as views under their names."""
        found = self._database.cursor()
        found.execute("USE star")
        return found

    def refresh(self) -> bool:
        """Take in what is new of the lake, the exports and the models; tell whether anything was.

        What cannot be read of one keeps nothing of the others back; then its error is raised in the end.
        """
        with self._refreshing:
            errors: list[Exception] = []
            changed = [self._tried(part, errors) for part in (self._follow_lake, self._follow_exports, self._models)]
            if any(changed):
                self.revision += 1
                for name in _TEMPORARY:
                    self._writer.execute(f"DROP TABLE IF EXISTS {name}")
            if errors:
                raise errors[0]
            return any(changed)

    @staticmethod
    def _tried(part: Callable[[], bool], errors: list[Exception]) -> bool:
        try:
            return part()
        except Exception as error:  # which it is, whoever asked to refresh will say
            if was_interrupted(error):
                raise KeyboardInterrupt from None
            errors.append(error)
            return False

    def _follow_lake(self) -> bool:
        generation = self._generation()
        anew = self._has_lost() or generation != self._known
        before = self._seen
        self._seen = {} if anew else {table: set(files) for table, files in before.items()}
        try:
            with self._transaction():
                if anew:
                    self._make_tables()
                changed = [self._users(), self._titles(), self._interactions()]
        except BaseException:
            self._seen = before
            raise
        if anew:
            self._known, self._exported, self._decided = generation, (), ()
        return anew or any(changed)

    def _has_lost(self) -> bool:
        """Tell whether rows have gone with their files, which they have not where files were merged."""
        with names_kept(self._lake):
            missing = {file for table, own in self._seen.items() for file in own.difference(self._lake.files(table))}
            if not missing:
                return False
            merged = gone(self._lake)
        for own in self._seen.values():
            own -= missing
        paths = {file.relative_to(self._lake.root).as_posix() for file in missing}
        return not paths <= merged or any(not file.parent.exists() for file in missing)

    def _generation(self) -> tuple[Any, ...]:
        """Return what changes where the lake is another one, or its topics were made anew."""
        topics = self._lake.topics.read_text("utf-8") if self._lake.topics.exists() else ""
        place = self._lake.checkpoint.stat().st_ino if self._lake.checkpoint.exists() else 0
        return topics, place

    def _make_tables(self) -> None:
        verbs = ", ".join(f"'{verb}'" for verb in Verb)
        self._writer.execute(f"CREATE TYPE IF NOT EXISTS verb AS ENUM ({verbs})")
        self._writer.execute(_TABLES)
        for table in STAR:
            if table.sql:
                columns = ", ".join(f'"{column.name}"' for column in table.columns)
                self._writer.execute(f"CREATE OR REPLACE VIEW {table.name} ({columns}) AS {table.sql}")
            else:
                self._writer.register("shape", table.schema.empty_table())
                self._writer.execute(f"CREATE OR REPLACE TABLE {table.name} AS FROM shape")
                self._writer.unregister("shape")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # a commit that failed has ended it
                self._writer.execute("ROLLBACK")
            raise

    def _users(self) -> bool:
        return self._arrived([TABLES["user"]]) and self._newest(_USERS)

    def _titles(self) -> bool:
        if not self._arrived([TABLES[kind] for kind in TITLE_TYPES]):
            return False
        if not self._newest(_TITLES):
            return False
        self._writer.execute("DELETE FROM title_genres WHERE title_key IN (SELECT title_key FROM fresh)")
        self._writer.execute("DELETE FROM title_people WHERE title_key IN (SELECT title_key FROM fresh)")
        self._writer.execute("INSERT INTO title_genres SELECT DISTINCT title_key, unnest(genres) FROM fresh")
        for role in ("director", "actor"):
            self._writer.execute(
                f"INSERT INTO title_people SELECT DISTINCT title_key, '{role}', unnest({role}s) FROM fresh"
            )
        return True

    def _interactions(self) -> bool:
        if not self._arrived([TABLES["interaction"]]):
            return False
        for dimension, column in ((_USERS, "id_usuario"), (_TITLES, "id_contenido")):
            self._name_unknown(dimension, f"SELECT DISTINCT {column} FROM arrived")
        run = self._writer.execute
        run(f"CREATE OR REPLACE TEMP TABLE came AS {_INTERACTION}")
        came, fresh, known = (
            [column.format(table) for column in _INTERACTION_ORDER] for table in ("came", "fresh", "i")
        )
        run(f"CREATE OR REPLACE TEMP TABLE fresh AS FROM came {_newest(', '.join(_INTERACTION_KEY), came)}")
        same = " AND ".join(f"i.{column} = fresh.{column}" for column in _INTERACTION_KEY)
        old, new = f"({', '.join(known)})", f"({', '.join(fresh)})"
        run(f"DELETE FROM fresh USING interactions i WHERE {same} AND {old} >= {new}")
        run(f"DELETE FROM interactions i USING fresh WHERE {same}")
        run(
            "INSERT INTO interactions SELECT interaction_id, user_key, title_key, happened_at, "
            "date_trunc('month', happened_at), verb, percent_watched, device, sent_at FROM fresh"
        )
        run(
            "CREATE OR REPLACE TEMP TABLE newer AS SELECT user_key, title_key, rating, happened_at AS rated_at, "
            "date_trunc('month', happened_at)::DATE AS month, sent_at, interaction_id FROM came WHERE verb = 'rate' "
            + _newest("user_key, title_key", _RATING_ORDER)
        )
        run(
            "DELETE FROM newer USING ratings r WHERE r.user_key = newer.user_key AND r.title_key = newer.title_key AND "
            f"({', '.join(f'r.{c}' for c in _RATING_ORDER)}) >= ({', '.join(f'newer.{c}' for c in _RATING_ORDER)})"
        )
        run("DELETE FROM ratings USING newer n WHERE ratings.user_key = n.user_key AND ratings.title_key = n.title_key")
        run("INSERT INTO ratings FROM newer")
        return self._any("fresh") or self._any("newer")

    def _any(self, table: str) -> bool:
        return bool(self._writer.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())

    def _follow_exports(self) -> bool:
        path = self._exports / PARQUET
        try:
            about = path.stat()
        except OSError:
            if not self._exported:
                return False
            self._writer.execute("DELETE FROM recommendations")
            self._exported = ()
            return True
        stamp = about.st_ino, about.st_mtime_ns
        if stamp == self._exported:
            return False
        files = sorted(str(part) for part in path.glob("*.parquet")) if path.is_dir() else [str(path)]
        with self._transaction():
            self._recommendations(files)
        self._exported = stamp
        return True

    def _recommendations(self, files: list[str]) -> None:
        run = self._writer.execute
        run("CREATE OR REPLACE TEMP TABLE listed AS FROM read_parquet(?)", [files])
        self._name_unknown(_USERS, "SELECT DISTINCT user_id FROM listed")
        self._name_unknown(_TITLES, "SELECT DISTINCT content_id FROM listed")
        run("DELETE FROM recommendations")
        run(
            "INSERT INTO recommendations SELECT user_key, title_key, rank, predicted_rating, ? FROM listed "
            "JOIN users USING (user_id) JOIN titles USING (content_id)",
            [exported_version(self._exports)],
        )

    def _models(self) -> bool:
        decisions, versions = self._store.decisions(), self._store.versions()
        decided = len(decisions), tuple(versions), self._store.current()
        if decided == self._decided:
            return False
        with self._transaction():
            for name, table in model_tables(self._store, versions, decisions).items():
                self._replace(name, table)
        self._decided = decided
        return True

    def _replace(self, name: str, table: pa.Table) -> None:
        self._writer.register("fresh_rows", table)
        self._writer.execute(f"DELETE FROM {name}")
        self._writer.execute(f"INSERT INTO {name} FROM fresh_rows")
        self._writer.unregister("fresh_rows")

    def _arrived(self, tables: Iterable[str]) -> bool:
        """Read rows of the lake's tables that have come into ``arrived``; tell whether there are any."""
        with names_kept(self._lake):
            new = {table: self._new_files(table) for table in tables}
            files = [str(file) for found in new.values() for file in found]
            if not files:
                return False
            self._writer.register("shape", pa.unify_schemas([SCHEMAS[table] for table in new]).empty_table())
            self._writer.execute(
                "CREATE OR REPLACE TEMP TABLE arrived AS FROM shape UNION ALL BY NAME "
                "FROM read_parquet(?, union_by_name = true, hive_partitioning = false)",
                [files],
            )
            self._writer.unregister("shape")
        for table, found in new.items():
            self._seen.setdefault(table, set()).update(found)
        return True

    def _new_files(self, table: str) -> list[Path]:
        seen = self._seen.get(table, set())
        return [file for file in self._lake.files(table) if file not in seen]

    def _newest(self, dimension: _Dimension) -> bool:
        """Let newer events of ``arrived`` take the place of what is known; they are in ``fresh`` then."""
        table, key, own = dimension.table, dimension.key, dimension.id
        run = self._writer.execute
        run(f"CREATE OR REPLACE TEMP TABLE newest AS {dimension.sql} {_newest('id', _EVENT_ORDER)}")
        old, new = (", ".join(f"{t}.{column}" for column in _EVENT_ORDER) for t in ("k", "n"))
        run(
            f"""CREATE OR REPLACE TEMP TABLE fresh AS
            SELECT coalesce(k.{key}, (SELECT count(*) FROM {table}) + row_number() OVER (PARTITION BY k.{key} IS NULL
            ORDER BY n.{own}) - 1) AS {key}, n.*
            FROM newest n LEFT JOIN {table} k USING ({own})
            WHERE k.{key} IS NULL OR k.updated_at IS NULL OR ({old}) < ({new})"""
        )
        run(f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM fresh)")
        run(f"INSERT INTO {table} BY NAME FROM fresh")
        return self._any("fresh")

    def _name_unknown(self, dimension: _Dimension, ids: str) -> None:
        """Let there be a row for each id that a fact names and no event has told of."""
        table, key, own = dimension.table, dimension.key, dimension.id
        self._writer.execute(
            f"""INSERT INTO {table} ({key}, {own})
            SELECT (SELECT count(*) FROM {table}) + row_number() OVER (ORDER BY id) - 1, id
            FROM ({ids}) AS wanted (id) WHERE id NOT IN (SELECT {own} FROM {table})"""
        )
