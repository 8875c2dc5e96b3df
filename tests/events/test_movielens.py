"""MovieLens as events: a tiny data set written here and worked out by hand, and a real one."""

import csv
import math
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.events import movielens
from nextreel.events.contract import EVENT_TYPES, EventType, event_schema
from nextreel.events.movielens_layouts import Ratings

LATEST_SMALL = Path(__file__).parents[2].parent / "shared" / "data" / "ml-latest-small"

HEADER = "userId,movieId,rating,timestamp\n"
RATINGS = HEADER + (
    "1,1,5.0,1000000300\n"
    "1,7,2.0,1000000100\n"
    "1,40,3.5,1000000200\n"
    "2,1,4.0,1000000100\n"
    "2,60,4.0,1000000050\n"
    "3,500,3.0,1000000100\n"  # a title that movies.csv lacks
    "10,7,6.0,1000000100\n"  # above the scale
    "10,51,0.5,1000000100\n"
)
MOVIES = (
    "movieId,title,genres\n"
    "51,Fawlty Towers (1975-1979),Comedy\n"
    "1,Toy Story (1995),Comedy|Animation\n"
    '7,"Misérables, Les (1995)",Drama\n'
    '40,"Good, the ""Bad"" and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",Western|Drama\n'
    "60,Hyena Road,(no genres listed)\n"
    '99,"Unrated, An (2001) ",Comedy\n'
)


def write(directory: Path, **files: str | bytes) -> Path:
    """Write ``name_ext="text"`` as the UTF-8 file name.ext (bytes as they are) and return the directory."""
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (directory / name.replace("_", ".")).write_bytes(data)
    return directory


def read_latest(directory: Path, ratings: str = RATINGS) -> movielens.MovieLens:
    return movielens.read(write(directory, ratings_csv=ratings, movies_csv=MOVIES))


def columns(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.select(names).to_pylist()]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_movies_are_events_a_day_before_the_first_rating(tmp_path: Path) -> None:
    movies = read_latest(tmp_path).movies
    assert columns(movies, "id", "titulo", "decada_lanzamiento", "generos") == [
        ("m1", "Toy Story", "1990s", ["Comedy", "Animation"]),
        ("m7", "Les Misérables", "1990s", ["Drama"]),
        (
            "m40",
            'The Good, the "Bad" and the Ugly (Il Buono, il brutto, il cattivo)',
            "1960s",
            ["Western", "Drama"],
        ),
        ("m51", "Fawlty Towers", "1970s", ["Comedy"]),
        ("m60", "Hyena Road", None, None),
        ("m99", "An Unrated", "2000s", ["Comedy"]),
    ]
    assert set(movies["type"].to_pylist()) == {"movie"}
    assert set(movies["timestamp"].to_pylist()) == {utc("2001-09-08T01:47:30")}
    assert all(movies[name].null_count == 6 for name in ("directores", "actores", "clasificacion"))


def test_interactions_are_in_order_of_time_user_and_movie_as_numbers(tmp_path: Path) -> None:
    interactions = read_latest(tmp_path).interactions
    assert columns(interactions, "id", "id_usuario", "id_contenido", "calificacion", "timestamp") == [
        ("r2-60", "u2", "m60", 4.0, utc("2001-09-09T01:47:30")),
        ("r1-7", "u1", "m7", 2.0, utc("2001-09-09T01:48:20")),
        ("r2-1", "u2", "m1", 4.0, utc("2001-09-09T01:48:20")),
        ("r3-500", "u3", "m500", 3.0, utc("2001-09-09T01:48:20")),
        ("r10-7", "u10", "m7", 6.0, utc("2001-09-09T01:48:20")),
        ("r10-51", "u10", "m51", 0.5, utc("2001-09-09T01:48:20")),
        ("r1-40", "u1", "m40", 3.5, utc("2001-09-09T01:50:00")),
        ("r1-1", "u1", "m1", 5.0, utc("2001-09-09T01:51:40")),
    ]
    assert set(columns(interactions, "type", "evento")) == {("interaction", "rate")}
    assert interactions["porcentaje_visto"].null_count == interactions["dispositivo"].null_count == 8


def test_users_are_events_a_second_before_their_first_rating(tmp_path: Path) -> None:
    users = read_latest(tmp_path).users
    assert columns(users, "id", "nombre_usuario", "timestamp", "fecha_suscripcion") == [
        ("u2", "user 2", utc("2001-09-09T01:47:29"), "2001-09-09"),
        ("u1", "user 1", utc("2001-09-09T01:48:19"), "2001-09-09"),
        ("u3", "user 3", utc("2001-09-09T01:48:19"), "2001-09-09"),
        ("u10", "user 10", utc("2001-09-09T01:48:19"), "2001-09-09"),
    ]
    assert set(users["type"].to_pylist()) == {"user"}
    others = ("directores", "actores", "clasificacion", "pais", "grupo_edad")
    assert all(users[name].null_count == 4 for name in others)


def test_users_prefer_what_they_rate_above_their_own_mean(tmp_path: Path) -> None:
    # User 1, mean 3.5: Toy Story +1.5, Les Misérables -1.5, The Good ... 0. So Animation and Comedy are up,
    # Drama is down and Western level; no decade is up (1990s +1.5 - 1.5), so the most rated come: two films,
    # one film. User 2 rates all alike: what was rated. User 3 rated nothing that is known. User 10, mean
    # 3.25, rates Drama +2.75 and Comedy as far below.
    assert columns(read_latest(tmp_path).users, "id", "generos", "decadas_favoritas") == [
        ("u2", ["Animation", "Comedy"], ["1990s"]),
        ("u1", ["Animation", "Comedy"], ["1990s", "1960s"]),
        ("u3", None, None),
        ("u10", ["Drama"], ["1990s"]),
    ]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_table_has_the_contract_schema(tmp_path: Path, event_type: EventType) -> None:
    table = read_latest(tmp_path).events(event_type)
    table.validate(full=True)
    assert table.schema == event_schema(event_type)
    assert table.num_rows == {"user": 4, "movie": 6, "series": 0, "interaction": 8}[event_type]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    plain = read_latest(tmp_path)
    write(
        tmp_path,
        ratings_csv=b"\xef\xbb\xbf" + RATINGS.replace("\n", "\r\n").encode(),
        movies_csv=b"\xef\xbb\xbf" + MOVIES.replace("\n", "\r\n").encode(),
    )
    assert movielens.read(tmp_path) == plain


def test_the_size_of_batches_and_blocks_shows_in_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = RATINGS + "1,7,2.5,1000000400\n2,1,4.5,1000000050\n1,7,3.0,1000000400\n"
    whole = read_latest(tmp_path, ratings)
    monkeypatch.setattr(movielens, "_ROWS_A_BATCH", 3)
    monkeypatch.setattr(movielens, "_ROWS_A_BLOCK", 2)
    assert movielens.read(tmp_path) == whole


def test_a_pair_rated_again_gets_an_id_of_its_own(tmp_path: Path) -> None:
    ratings = HEADER + "8,3,1.0,300\n5,3,4.0,200\n8,3,2.0,100\n8,3,3.0,300\n8,3,4.0,300\n8,1,5.0,300\n"
    interactions = read_latest(tmp_path, ratings).interactions
    assert columns(interactions, "id", "calificacion") == [
        ("r8-3", 2.0),
        ("r5-3", 4.0),
        ("r8-1", 5.0),
        ("r8-3-300", 1.0),
        ("r8-3-300-2", 3.0),
        ("r8-3-300-3", 4.0),
    ]


# Titles


@pytest.mark.parametrize(
    ("published", "title", "decade"),
    [
        ("Matrix, The (1999)", "The Matrix", "1990s"),
        ("Blind Side, The  (2009) ", "The Blind Side", "2000s"),
        ("Legend, The (a.k.a. Cult, A) (Fong, L’) (1993)", "The Legend (a.k.a. A Cult) (L’Fong)", "1990s"),  # noqa: RUF001
        ("Human Centipede II (Full Sequence), The (2011)", "The Human Centipede II (Full Sequence)", "2010s"),
        ("Babies (Bébé(s)) (2010)", "Babies (Bébé(s))", "2010s"),
        ("To Have, or Not (En avoir (ou pas)) (1995)", "To Have, or Not (En avoir (ou pas))", "1990s"),
        ("Paris, Texas (1984)", "Paris, Texas", "1980s"),
        ("Big Bang Theory, The (2007-)", "The Big Bang Theory", "2000s"),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", "1960s"),
        ("Odyssey (3001)", "Odyssey (3001)", None),
        ("1984 (1956) (restored)", "1984 (1956) (restored)", None),
        ("Unbalanced (Film, The (1990)", "Unbalanced (The Film", "1990s"),
        ("(1995)", "(1995)", "1990s"),
        ("", "", None),
    ],
)
def test_titles_lose_their_year_and_regain_their_article(published: str, title: str, decade: str | None) -> None:
    assert movielens.split_title(published) == (title, decade)


@given(st.text("ab ,()'-19Théx", max_size=40))
def test_every_title_splits_and_keeps_its_letters(published: str) -> None:
    title, decade = movielens.split_title(published)
    assert bool(title) == bool(published.strip())
    before, after = (Counter(text.translate({ord(" "): None, ord(","): None})) for text in (published, title))
    assert after <= before if decade else after == before


@given(
    st.text("ab é'-1,", min_size=1, max_size=20).map(str.strip).filter(lambda body: body.strip(",")),
    st.sampled_from(["The", "A", "An", "Le", "La", "Les", "El", "Los", "Il", "I", "Das", "En", "Un", "Une", "Det"]),
)
def test_every_inverted_article_comes_back(body: str, article: str) -> None:
    assert movielens.split_title(f"{body}, {article} (1995)") == (f"{article} {body}", "1990s")


# Favourites


def test_one_good_film_is_not_yet_a_taste() -> None:
    # User 0, mean 3: A once +2, B four times +1, C three times -2; so A 2/6 and B 4/9. User 1 saw C and A.
    labels = [["A"], ["B"], ["B"], ["B"], ["B"], ["C"], ["C"], ["C"]]
    ratings = Ratings(
        user_ids=np.array([4, 6], np.int32),
        movie_ids=np.arange(10, 18, dtype=np.int32),
        users=np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1], np.int32),
        movies=np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 0], np.int32),
        values=np.array([5, 4, 4, 4, 4, 1, 1, 1, 4.5, 3], np.float64),
        seconds=np.arange(10),
    )
    assert movielens.favourites(ratings, labels, 5).to_pylist() == [["B", "A"], ["C"]]
    assert movielens.favourites(ratings, labels, 1).to_pylist() == [["B"], ["C"]]


def favourites_by_definition(rows: dict[int, float], labels: list[list[str]], limit: int) -> list[str] | None:
    """Answer what ``favourites`` says for one user, whose ``rows`` are rating by movie."""
    mean = math.fsum(rows.values()) / len(rows)
    excess: dict[str, list[float]] = defaultdict(list)
    for movie, value in rows.items():
        for label in labels[movie]:
            excess[label].append(value - mean)
    lift = {name: round(math.fsum(of) / (len(of) + movielens.DAMPING), 9) for name, of in excess.items()}
    liked = sorted((-lift[name], -len(excess[name]), name) for name in lift if lift[name] > 0)
    most_rated = sorted((0.0, -len(of), name) for name, of in excess.items())
    return [name for *_, name in (liked or most_rated)[:limit]] or None


@given(
    rated=st.dictionaries(
        st.tuples(st.integers(0, 3), st.integers(0, 5)),
        st.integers(1, 10).map(lambda halves: halves / 2),
        min_size=1,
    ),
    labels=st.lists(st.lists(st.sampled_from("ABCDEFG"), unique=True, max_size=4), min_size=6, max_size=6),
    limit=st.integers(1, 5),
)
def test_favourites_are_what_their_definition_says(
    rated: dict[tuple[int, int], float], labels: list[list[str]], limit: int
) -> None:
    user_ids, users = np.unique(np.array([user for user, _ in rated], np.int32), return_inverse=True)
    ratings = Ratings(
        user_ids=user_ids,
        movie_ids=np.arange(6, dtype=np.int32),
        users=users.astype(np.int32),
        movies=np.array([movie for _, movie in rated], np.int32),
        values=np.array(list(rated.values())),
        seconds=np.zeros(len(rated), np.int64),
    )
    rows = [{m: value for (u, m), value in rated.items() if u == user} for user in user_ids.tolist()]
    expected = [favourites_by_definition(own, labels, limit) for own in rows]
    assert movielens.favourites(ratings, labels, limit).to_pylist() == expected


# Order


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5)), min_size=1))
def test_events_are_in_order_with_distinct_ids_whatever_the_file(rows: list[tuple[int, int, int]]) -> None:
    lines = [f"{user},{movie},{0.5 + place % 10 / 2},{t}\n" for place, (user, movie, t) in enumerate(rows)]
    with TemporaryDirectory() as directory:
        interactions = read_latest(Path(directory), HEADER + "".join(lines)).interactions.to_pylist()
    assert len({event["id"] for event in interactions}) == len(rows)
    found = [
        (int(event["id_usuario"][1:]), int(event["id_contenido"][1:]), int(event["timestamp"].timestamp()))
        for event in interactions
    ]
    assert found == sorted(rows, key=lambda row: (row[2], row[0], row[1]))
    values = sorted(0.5 + place % 10 / 2 for place in range(len(rows)))
    assert sorted(event["calificacion"] for event in interactions) == values


# A real data set


@pytest.mark.skipif(not LATEST_SMALL.is_dir(), reason=f"the data set ml-latest-small is not at {LATEST_SMALL}")
def test_latest_small_is_read_whole_and_in_order() -> None:
    data = movielens.read(LATEST_SMALL)
    assert (data.users.num_rows, data.movies.num_rows, data.interactions.num_rows) == (671, 9125, 100_004)
    with (LATEST_SMALL / "ratings.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            (int(row["timestamp"]), int(row["userId"]), int(row["movieId"]), float(row["rating"]))
            for row in csv.DictReader(file)
        ]
    assert math.fsum(data.interactions["calificacion"].to_pylist()) == math.fsum(row[3] for row in rows)
    rows.sort()
    times = data.interactions["timestamp"].cast(pa.int64()).to_pylist()
    assert times == [t * 1_000_000 for t, *_ in rows]
    assert columns(data.interactions, "id", "id_usuario", "id_contenido", "calificacion") == [
        (f"r{user}-{movie}", f"u{user}", f"m{movie}", value) for _, user, movie, value in rows
    ]
    # Every user and every title is there before the first interaction with it.
    assert data.movies["timestamp"].to_pylist()[-1] < data.interactions["timestamp"][0].as_py()
    first: dict[str, int] = {}
    for t, user, *_ in rows:
        first.setdefault(f"u{user}", t)
    assert dict(columns(data.users, "id", "timestamp")) == {
        user: datetime.fromtimestamp(t - 1, UTC) for user, t in first.items()
    }
