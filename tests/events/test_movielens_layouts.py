"""The three published layouts, and what is wrong with a directory or a file that is in none of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nextreel.errors import InputError
from nextreel.events import movielens, movielens_layouts

HEADER = "userId,movieId,rating,timestamp\n"
MOVIES = 'movieId,title,genres\n1,Heat (1995),Crime\n7,"Misérables, Les (1995)",Drama\n'


def write(directory: Path, **files: str | bytes) -> Path:
    """Write ``name_ext="text"`` as the UTF-8 file name.ext (bytes as they are) and return the directory."""
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (directory / name.replace("_", ".")).write_bytes(data)
    return directory


def columns(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.select(names).to_pylist()]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Layout 2: "::"


def test_1m_layout_is_latin_1_with_ages(tmp_path: Path) -> None:
    write(
        tmp_path,
        ratings_dat="2::11::5::978300760\n1::2::3::978300019\n",
        movies_dat=(
            "2::Misérables, Les (1995)::Drama|Musical\n"
            "11::Postino, Il (The Postman) (1994)::Drama|Romance\n"
            "31::Either::Or (1999)::Children's\n"
        ).encode("latin-1"),
        users_dat="1::F::1::10::48067\n2::M::56::16::70072\n9::M::25::15::55117\n",
    )
    data = movielens.read(tmp_path)
    assert columns(data.movies, "id", "titulo", "generos") == [
        ("m2", "Les Misérables", ["Drama", "Musical"]),
        ("m11", "Il Postino (The Postman)", ["Drama", "Romance"]),
        ("m31", "Either::Or", ["Children's"]),
    ]
    assert columns(data.users, "id", "grupo_edad", "fecha_suscripcion", "generos", "timestamp") == [
        ("u9", "25-34", None, None, utc("2000-12-30T22:00:19")),  # listed, but rated nothing
        ("u1", "under 18", "2000-12-31", ["Drama", "Musical"], utc("2000-12-31T22:00:18")),
        ("u2", "56+", "2000-12-31", ["Drama", "Romance"], utc("2000-12-31T22:12:39")),
    ]
    assert columns(data.interactions, "id", "calificacion") == [("r1-2", 3.0), ("r2-11", 5.0)]


def test_10m_layout_is_utf_8_without_users(tmp_path: Path) -> None:
    write(
        tmp_path,
        ratings_dat="4::6::2.5::838985046\n4::5::5::838983525\n",
        movies_dat="5::Crève, Âme (1983)::Drama\n6::Héros, L' (2008– )::(no genres listed)\n",  # noqa: RUF001
    )
    data = movielens.read(tmp_path)
    assert columns(data.movies, "titulo", "decada_lanzamiento", "generos") == [
        ("Crève, Âme", "1980s", ["Drama"]),
        ("L'Héros", "2000s", None),
    ]
    assert columns(data.users, "id", "grupo_edad", "generos") == [("u4", None, ["Drama"])]
    assert columns(data.interactions, "id", "calificacion") == [("r4-5", 5.0), ("r4-6", 2.5)]


# Layout 3: u.data


def flags(*places: int, n: int = 19) -> str:
    return "|".join("1" if place in places else "0" for place in range(n))


U_DATA = "196\t242\t3\t881250949\n7\t267\t1\t881250950\n7\t1412\t2\t881250948\n"
U_ITEM = (
    f"242|Kolya, Père (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya|{flags(5, 8)}\n"
    f"267|unknown||||{flags(0)}\n"
    f"1412|Land Before Time III, The (1995) (V)|01-Jan-1995|||{flags(3, 4)}\n"
).encode("latin-1")


def test_100k_layout_has_flags_in_the_published_order(tmp_path: Path) -> None:
    users = "196|49|M|writer|55105\n7|17|F|student|T8H1N\n8|24|M|other|05201\n"
    data = movielens.read(write(tmp_path, u_data=U_DATA, u_item=U_ITEM, u_user=users))
    assert columns(data.movies, "id", "titulo", "decada_lanzamiento", "generos") == [
        ("m242", "Kolya, Père", "1990s", ["Comedy", "Drama"]),
        ("m267", "unknown", None, None),
        ("m1412", "The Land Before Time III", "1990s", ["Animation", "Children's"]),
    ]
    assert columns(data.interactions, "id") == [("r7-1412",), ("r196-242",), ("r7-267",)]
    assert columns(data.users, "id", "grupo_edad", "generos") == [
        ("u8", "18-24", None),
        ("u7", "under 18", ["Animation", "Children's"]),
        ("u196", "45-49", ["Comedy", "Drama"]),
    ]


def test_100k_genres_are_named_by_u_genre(tmp_path: Path) -> None:
    item = f"242|Kolya (1996)||||{flags(0, 2, n=3)}\n"
    write(tmp_path, u_data=U_DATA, u_item=item, u_genre="War|2\nunknown|1\nSatire|0\n\n")
    assert columns(movielens.read(tmp_path).movies, "generos") == [(["Satire", "War"],)]


@pytest.mark.parametrize(
    ("age", "group"),
    [
        (17, "under 18"),
        (18, "18-24"),
        (34, "25-34"),
        (35, "35-44"),
        (49, "45-49"),
        (50, "50-55"),
        (56, "56+"),
    ],
)
def test_age_groups_are_those_of_1m(tmp_path: Path, age: int, group: str) -> None:
    users = f"196|{age}|M|writer|55105\n"
    data = movielens.read(write(tmp_path, u_data=U_DATA, u_item=U_ITEM, u_user=users))
    assert ("u196", group) in columns(data.users, "id", "grupo_edad")


# Errors


def test_a_directory_in_no_layout_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ratings\.csv with movies\.csv, or .*u\.item; found nothing in it"):
        movielens.read(tmp_path)
    write(tmp_path, ratings_csv=HEADER)
    (tmp_path / "ml-1m").mkdir()
    with pytest.raises(InputError, match=r"found ml-1m/, ratings\.csv\."):
        movielens.read(tmp_path)
    with pytest.raises(InputError, match="found no such directory"):
        movielens.read(tmp_path / "ml-99m")
    with pytest.raises(InputError, match="found a file"):
        movielens.read(tmp_path / "ratings.csv")
    write(tmp_path, **{f"x{place:02}": "" for place in range(20)})
    with pytest.raises(InputError, match="x05 and 14 more"):
        movielens.read(tmp_path)


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ("", r"ratings\.csv: the file is empty"),
        (HEADER, r"ratings\.csv: there are no ratings in it"),
        (HEADER + "\n\n", r"ratings\.csv: there are no ratings in it"),
        ("user,item,rating,timestamp\n1,1,3,5\n", r"line 1: the header is 'user,item,rating,timestamp'"),
        (
            HEADER + "1,1,3.0,5\n\n1,2,3.0\n",
            r"ratings\.csv, line 4: '1,2,3\.0' is not 'user id,movie id,rating",
        ),
        (HEADER + "1,1,3.0,5\n1,2,3.0,6,7\n", "line 3"),
        (HEADER + "1,1,good,5\n", "line 2: '1,1,good,5'"),
        (HEADER + "1,1,,5\n", "line 2"),
        (HEADER + "1,1,nan,5\n", "line 2"),
        (HEADER + "1,1,inf,5\n", "line 2"),
        (HEADER + ",1,3.0,5\n", "line 2"),
        (HEADER + "1,-1,3.0,5\n", "line 2"),
        (HEADER + "1,4294967296,3.0,5\n", "line 2"),
        (HEADER + "1,1,3.0,9999999999999\n", "line 2"),
        (HEADER + "1,1,3.0,2 April 2015\n", "line 2"),
    ],
)
def test_malformed_ratings_name_file_and_line(tmp_path: Path, ratings: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        movielens.read(write(tmp_path, ratings_csv=ratings, movies_csv=MOVIES))


@pytest.mark.parametrize(
    ("movies", "message"),
    [
        ("", r"movies\.csv: the file is empty"),
        ("movieId,title,genres\n", r"movies\.csv: there are no titles in it"),
        ("id,title\n1,Heat\n", "line 1: the header is 'id,title'"),
        (MOVIES + "8,Heat, The (1995),Drama\n", r"movies\.csv, line 4: there are 4 cells"),
        (MOVIES + "x,Heat (1995),Drama\n", "line 4: the movie id 'x' is not a whole number"),
        (MOVIES + "7,Heat (1995),Drama\n", "line 4: movie id 7 is there a second time"),
        (MOVIES + '8,"Heat (1995),Drama\n', r"movies\.csv, line 4: unexpected end of data"),
    ],
)
def test_malformed_movies_name_file_and_line(tmp_path: Path, movies: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        movielens.read(write(tmp_path, ratings_csv=HEADER + "1,1,3.0,5\n", movies_csv=movies))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ratings_dat": "1::2::3::4\n1:9:2::3::4\n"}, r"ratings\.dat, line 2: '1:9:2::3::4'"),
        ({"ratings_dat": "1::2::3\n"}, r"ratings\.dat, line 1"),
        ({"ratings_dat": ""}, r"ratings\.dat: the file is empty"),
        (
            {"movies_dat": "1::Heat (1995)::Drama\n2:Heat\n"},
            r"movies\.dat, line 2: '2:Heat' is not 'movie id",
        ),
        ({"users_dat": "1::F::1::10\n"}, r"users\.dat, line 1: there are 4 cells"),
        ({"users_dat": "1::F::old::10::48067\n"}, r"users\.dat, line 1: the age 'old'"),
        ({"users_dat": ""}, r"users\.dat: the file is empty"),
    ],
)
def test_malformed_dat_files_name_file_and_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    sound = {"ratings_dat": "1::1::3::5\n", "movies_dat": "1::Heat (1995)::Drama\n"}
    with pytest.raises(InputError, match=message):
        movielens.read(write(tmp_path, **(sound | files)))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"u_data": "1\t2\t3\t4\n1 2 3 4\n"}, r"u\.data, line 2"),
        ({"u_item": f"1|Heat||||{flags(1, n=18)}\n"}, r"u\.item, line 1: .* 5 cells and then 19 genre flags"),
        ({"u_item": f"1|Heat||||{flags(1)[:-1]}2\n"}, r"u\.item, line 1"),
        ({"u_genre": "Action\n"}, r"u\.genre, line 1: the genre's place 'Action'"),
        ({"u_user": "1|24|M\n"}, r"u\.user, line 1: there are 3 cells"),
    ],
)
def test_malformed_u_files_name_file_and_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    sound: dict[str, str | bytes] = {"u_data": U_DATA, "u_item": U_ITEM}
    with pytest.raises(InputError, match=message):
        movielens.read(write(tmp_path, **(sound | files)))


@pytest.mark.parametrize("names", [("ratings.csv", "movies.csv"), ("rating.csv", "movie.csv")])
def test_quoted_cells_and_times_as_texts_as_kaggle_has_them(tmp_path: Path, names: tuple[str, str]) -> None:
    header = '"userId","movieId","rating","timestamp"\r\n'
    ratings = header + '1,2,3.5,"2005-04-02 23:53:47"\r\n1,29,4,2005-04-02 23:31:16\r\n'
    (tmp_path / names[0]).write_text(ratings, "utf-8", newline="")
    movies = '"movieId","title","genres"\r\n2,"Jum (1995)","Adventure|Fantasy"\r\n29,"City, The (1995)","Drama"\r\n'
    (tmp_path / names[1]).write_text(movies, "utf-8", newline="")
    source = movielens_layouts.read(tmp_path)
    assert source.ratings.seconds.tolist() == [1112486027, 1112484676]
    assert source.ratings.values.tolist() == [3.5, 4.0]
    assert [title.title for title in source.titles] == ["Jum (1995)", "City, The (1995)"]


def test_other_columns_are_pointed_at_the_commands_that_read_them(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,book,rating\n1,2,3\n", "utf-8")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n2,A,B\n", "utf-8")
    with pytest.raises(InputError, match="`replay catalogue` and `replay interactions`"):
        movielens.read(tmp_path)
