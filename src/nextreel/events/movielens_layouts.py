"""The layouts in which MovieLens data sets are published, read into arrays.

    ratings.csv  movies.csv               latest, latest-small, 20M, 25M, 32M   comma, a header, UTF-8
    rating.csv   movie.csv                20M as Kaggle has it                  the same; quoted, times as texts
    ratings.dat  movies.dat  [users.dat]  1M (with users.dat), 10M (without)    "::", Latin-1 or UTF-8
    u.data       u.item      [u.user]     100K, and u.genre where present       tab and "|", Latin-1

Formats: the README of each data set, https://files.grouplens.org/datasets/movielens/.
"""

import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from nextreel.errors import InputError

#: Genre flags of u.item in the published order, for a copy that lacks u.genre.
_U_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_NO_GENRE = frozenset({"", "unknown", "(no genres listed)"})

#: Youngest age of each group but the first: the codes of 1M's users.dat, and bounds for the years in u.user.
_AGE_BOUNDS = (18, 25, 35, 45, 50, 56)
_AGE_GROUPS = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")

_RATINGS_HEADER = "userId,movieId,rating,timestamp"
_MOVIES_HEADER = ["movieId", "title", "genres"]

_TIME_TEXT = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"
_LARGEST_ID = 2**31 - 1
_LAST_SECOND = 253_402_300_799  # the end of the year 9999
_MAX_SHOWN = 8
_OTHER_FILES = "Files with other columns are read by `replay catalogue` and `replay interactions` (docs/data.md)"


@dataclass(frozen=True)
class Ratings:
    """All ratings of a data set, in the file's order; ids are replaced by their index among the sorted ids.

    ``user_ids`` int32 (n_users,) and ``movie_ids`` int32 (n_movies,), ascending: everyone who rated, every
    title that was rated; ``users`` and ``movies`` int32 (n_ratings,), indices into them; ``values`` float64
    (n_ratings,), finite; ``seconds`` int64 (n_ratings,), since 1970-01-01 UTC. There is at least one rating.
    """

    user_ids: NDArray[np.int32]
    movie_ids: NDArray[np.int32]
    users: NDArray[np.int32]
    movies: NDArray[np.int32]
    values: NDArray[np.float64]
    seconds: NDArray[np.int64]


@dataclass(frozen=True)
class Title:
    """One line of the movies file: the title as published, with its year; no genres is the empty tuple."""

    movie_id: int
    title: str
    genres: tuple[str, ...]


class Source(NamedTuple):
    """What a directory holds; ``age_groups`` maps user ids to labels and is empty where none are given."""

    titles: list[Title]
    ratings: Ratings
    age_groups: dict[int, str]


def read(directory: Path) -> Source:
    """Read ``directory``, in whichever of the layouts it is.

    Raises InputError if it is in none of them, or if a file in it is empty or malformed.
    """
    read_layout = layout_of(directory)
    try:
        return read_layout(directory)
    except OSError as error:
        raise InputError(f"{directory} cannot be read: {error}") from error


def layout_of(directory: Path) -> Callable[[Path], Source]:
    """Return what reads ``directory``, by the names of the files in it; nothing is read yet.

    Raises InputError if it is in none of the layouts.
    """
    for names, read_layout in _LAYOUTS.items():
        if all((directory / name).is_file() for name in names):
            return read_layout
    looked_for = ", or ".join(" with ".join(names) for names in _LAYOUTS)
    raise InputError(
        f"{directory} is not a MovieLens data set: looked for {looked_for}; found {_contents(directory)}. "
        f"Give the directory that an archive from https://grouplens.org/datasets/movielens/ unpacks to. {_OTHER_FILES}."
    )


def _contents(directory: Path) -> str:
    if not directory.is_dir():
        return "a file" if directory.exists() else "no such directory"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in directory.iterdir())
    shown = ", ".join(names[:_MAX_SHOWN]) or "nothing in it"
    return shown + f" and {len(names) - _MAX_SHOWN} more" * (len(names) > _MAX_SHOWN)


def _read_csv(directory: Path) -> Source:
    return _read_csv_files(directory / "ratings.csv", directory / "movies.csv")


def _read_kaggle(directory: Path) -> Source:
    return _read_csv_files(directory / "rating.csv", directory / "movie.csv")


def _read_csv_files(path: Path, movies: Path) -> Source:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline().rstrip("\r\n")
    if header.replace('"', "") != _RATINGS_HEADER and path.stat().st_size:
        _refuse(path, 1, f"the header is {header!r}, not {_RATINGS_HEADER!r}. {_OTHER_FILES}")
    titles = _read_titles(movies, _movies_csv)
    return Source(titles, _read_ratings(path, ",", header_lines=1), {})


def _read_dat(directory: Path) -> Source:
    titles = _read_titles(directory / "movies.dat", _movies_dat)
    ratings = _read_ratings(directory / "ratings.dat", "::")
    return Source(titles, ratings, _read_age_groups(directory / "users.dat", "::", column=2))


def _read_u(directory: Path) -> Source:
    titles = _read_titles(directory / "u.item", _u_items)
    ratings = _read_ratings(directory / "u.data", "\t")
    return Source(titles, ratings, _read_age_groups(directory / "u.user", "|", column=1))


_LAYOUTS: dict[tuple[str, str], Callable[[Path], Source]] = {
    ("ratings.csv", "movies.csv"): _read_csv,
    ("rating.csv", "movie.csv"): _read_kaggle,
    ("ratings.dat", "movies.dat"): _read_dat,
    ("u.data", "u.item"): _read_u,
}


def _read_ratings(path: Path, separator: str, header_lines: int = 0) -> Ratings:
    """Read ratings of four cells: user id, movie id, rating, seconds."""
    table = _parse_ratings(path, separator, header_lines)
    # Column by column, so that the table and the arrays made from it are never both whole in memory.
    user_ids, users = _encode(table["user"])
    table = table.drop_columns("user")
    movie_ids, movies = _encode(table["movie"])
    table = table.drop_columns("movie")
    return Ratings(user_ids, movie_ids, users, movies, table["value"].to_numpy(), table["seconds"].to_numpy())


def _parse_ratings(path: Path, separator: str, header_lines: int) -> pa.Table:
    """Return columns user, movie (int32), value (float64) and seconds (int64), checked: none is null."""
    has_texts = separator == "," and _has_times_as_texts(path)
    time = pa.timestamp("s") if has_texts else pa.int64()
    cells = {"user": pa.int32(), "movie": pa.int32(), "value": pa.float64(), "seconds": time}
    # Arrow separates by one character: "::" is ":" around columns that must be empty.
    gaps = {f"gap{place}": pa.null() for place in range(1, 4)}
    names = ["user", "gap1", "movie", "gap2", "value", "gap3", "seconds"] if separator == "::" else list(cells)
    if not path.stat().st_size:
        _refuse(path, None, "the file is empty")
    try:
        table = pacsv.read_csv(
            str(path),
            pacsv.ReadOptions(column_names=names, skip_rows=header_lines, block_size=1 << 23),
            pacsv.ParseOptions(delimiter=separator[0], quote_char='"' if separator == "," else False),
            pacsv.ConvertOptions(column_types=cells | gaps, null_values=[""]),
        ).select(list(cells))
        if has_texts:
            table = table.set_column(3, "seconds", table["seconds"].cast(pa.int64()))
    except pa.ArrowInvalid as error:
        _refuse_ratings(path, separator, header_lines, str(error))
    if not table.num_rows:
        _refuse_ratings(path, separator, header_lines, "there are no ratings in it")
    whole = table.select(["user", "movie", "seconds"]).columns
    if (
        any(column.null_count for column in table.columns)
        or any(pc.min(column).as_py() < 0 for column in whole)
        or pc.max(table["seconds"]).as_py() > _LAST_SECOND
        or not pc.all(pc.is_finite(table["value"])).as_py()
    ):
        _refuse_ratings(path, separator, header_lines, "a cell is empty or out of range")
    return table


def _has_times_as_texts(path: Path) -> bool:
    """Tell whether times are written as 2005-04-02 23:53:47, by the first rating."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline()
        return re.fullmatch(_TIME_TEXT, file.readline().rpartition(",")[2].strip().strip('"')) is not None


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct ids of ``column`` (n,), ascending, and each row's index among them (n_rows,)."""
    encoded = column.combine_chunks().dictionary_encode()
    ids = encoded.dictionary.to_numpy()
    order = np.argsort(ids)
    index = np.empty(len(ids), np.int32)
    index[order] = np.arange(len(ids), dtype=np.int32)
    return ids[order], index[encoded.indices.to_numpy()]


def _refuse_ratings(path: Path, separator: str, header_lines: int, reason: str) -> NoReturn:
    """Raise InputError with the first line that is not a rating, or with ``reason`` where all are."""
    blank = True
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            text = line.rstrip("\r\n")
            if number <= header_lines or not text:
                continue
            blank = False
            cells = [cell.strip('"') for cell in text.split(separator)] if separator == "," else text.split(separator)
            if not _is_rating(cells):
                wanted = separator.join(("user id", "movie id", "rating", "seconds since 1970"))
                _refuse(path, number, f"{text[:80]!r} is not {wanted!r}, all of them numbers")
    _refuse(path, None, "there are no ratings in it" if blank else reason)


def _is_rating(cells: list[str]) -> bool:
    if len(cells) != 4 or not all(re.fullmatch(r"\s*\d+\s*", cells[i], re.ASCII) for i in (0, 1)):
        return False
    if re.fullmatch(_TIME_TEXT, cells[3]):
        cells = [*cells[:3], "0"]
    elif not re.fullmatch(r"\s*\d+\s*", cells[3], re.ASCII):
        return False
    try:
        finite = math.isfinite(float(cells[2]))
    except ValueError:
        return False
    return finite and max(int(cells[0]), int(cells[1])) <= _LARGEST_ID and int(cells[3]) <= _LAST_SECOND


def _read_titles(path: Path, rows: Callable[[Path], Iterable[tuple[int, str, str, list[str]]]]) -> list[Title]:
    """Read the movies file ``path``, of which ``rows`` yields line number, id, title and genres."""
    titles: dict[int, Title] = {}
    for number, movie_id, title, genres in rows(path):
        key = _whole_number(path, number, "movie id", movie_id)
        if key in titles:
            _refuse(path, number, f"movie id {key} is there a second time")
        own = tuple(dict.fromkeys(genre for genre in genres if genre not in _NO_GENRE))
        titles[key] = Title(key, title, own)
    if not titles:
        _refuse(path, None, "there are no titles in it")
    return list(titles.values())


def _movies_csv(path: Path) -> Iterator[tuple[int, str, str, list[str]]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = next(reader)
        if header != _MOVIES_HEADER:
            _refuse(path, 1, f"the header is {','.join(header)!r}, not {','.join(_MOVIES_HEADER)!r}")
        for row in reader:
            if len(row) == 3:
                yield reader.line_num, row[0], row[1], row[2].split("|")
            elif row:
                _refuse(path, reader.line_num, f"there are {len(row)} cells, not movieId,title,genres")
    except csv.Error as error:
        _refuse(path, reader.line_num, str(error))


def _movies_dat(path: Path) -> Iterator[tuple[int, str, str, list[str]]]:
    for number, line in _lines(path):
        movie_id, _, rest = line.partition("::")
        title, separator, genres = rest.rpartition("::")  # the title itself may hold a "::"
        if not separator:
            _refuse(path, number, f"{line[:80]!r} is not 'movie id::title::genres'")
        yield number, movie_id, title, genres.split("|")


def _u_items(path: Path) -> Iterator[tuple[int, str, str, list[str]]]:
    genre_file = path.with_name("u.genre")
    genres = _u_genres(genre_file) if genre_file.is_file() else _U_GENRES
    for number, line in _lines(path):
        cells = line.split("|")
        flags = cells[5:]
        if len(flags) != len(genres) or not set(flags) <= {"0", "1"}:
            _refuse(path, number, f"there are not 5 cells and then {len(genres)} genre flags of 0 or 1")
        own = [genre for genre, flag in zip(genres, flags, strict=True) if flag == "1"]
        yield number, cells[0], cells[1], own


def _u_genres(path: Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for number, line in _lines(path):
        name, _, place = line.rpartition("|")
        names[_whole_number(path, number, "genre's place", place)] = name
    return tuple(names[place] for place in sorted(names))


def _read_age_groups(path: Path, separator: str, column: int) -> dict[int, str]:
    """Read the users file ``path``, if it is there, with the age in ``column``."""
    if not path.is_file():
        return {}
    groups = {}
    for number, line in _lines(path):
        cells = line.split(separator)
        if len(cells) != 5:
            _refuse(path, number, f"there are {len(cells)} cells between {separator!r}, not 5")
        age = _whole_number(path, number, "age", cells[column])
        user_id = _whole_number(path, number, "user id", cells[0])
        groups[user_id] = _AGE_GROUPS[bisect_right(_AGE_BOUNDS, age)]
    return groups


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are not blank.

    Split at line feeds only: str.splitlines would also split at characters that titles in Latin-1 may hold.
    """
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _text(path: Path) -> str:
    """Return the text of a file that is UTF-8 or else Latin-1, and not empty."""
    data = path.read_bytes()
    if not data.strip():
        _refuse(path, None, "the file is empty")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _whole_number(path: Path, number: int, name: str, cell: str) -> int:
    if not re.fullmatch(r"\d+", cell, re.ASCII) or int(cell) > _LARGEST_ID:
        _refuse(path, number, f"the {name} {cell[:80]!r} is not a whole number up to {_LARGEST_ID}")
    return int(cell)


def _refuse(path: Path, number: int | None, reason: str) -> NoReturn:
    raise InputError(f"{path}{'' if number is None else f', line {number}'}: {reason}")
