"""The titles of the synthetic world: what they are about, who made them, how they change."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.events.contract import EventType
from nextreel.events.draws import gumbel, pick, uniform
from nextreel.events.world import casting, columns, names
from nextreel.events.world.config import WorldConfig
from nextreel.events.world.taste import GENRE_SHARES, GENRES, PERIOD, genre_vectors, own_directions

MAX_GENRES, N_DECADES = 3, 9

#: Shares of titles in the nine decades up to the present one, which is not over yet.
DECADE_SHARES: Final = np.array([1.0, 1.5, 2.5, 3.5, 5.0, 8.0, 14.0, 24.0, 20.0])
_SERIES_DECADES: Final = np.array([0.01, 0.05, 0.5, 1.5, 3.0, 6.0, 14.0, 34.0, 38.0])
#: How much likelier each later decade is for a genre than for others, as a logarithm.
_RISING: Final = {
    "Western": -0.45,
    "War": -0.2,
    "Music": -0.1,
    "History": -0.05,
    "Documentary": 0.1,
    "Sci-Fi": 0.1,
}

#: Age ratings by maturity, 0 for everybody to 4 for adults; series for children have labels of their own.
_MPA: Final = ["G", "PG", "PG-13", "R", "NC-17"]
_TV: Final = ["TV-G", "TV-PG", "TV-14", "TV-MA", "TV-MA"]
_TV_CHILDREN: Final = ["TV-Y", "TV-Y7", "TV-14", "TV-MA", "TV-MA"]
LABELS: Final = [*_MPA, *_TV, *_TV_CHILDREN]
ADULT: Final = 3

#: How mature a title of a genre is, as steps of the age rating from the middle one.
_MATURITY: Final = {
    "Family": -2.6, "Animation": -1.3, "Music": -0.5, "Adventure": -0.4, "Fantasy": -0.3, "Documentary": -0.4,
    "Comedy": 0.0, "Romance": 0.0, "History": 0.1, "Sci-Fi": 0.1, "Drama": 0.3, "Western": 0.3,
    "Mystery": 0.4, "Action": 0.6, "Thriller": 0.9, "War": 0.9, "Crime": 1.3, "Horror": 1.7,
}  # fmt: skip
#: Genres that a title does not have together.
_APART: Final = {
    "Family": ["Crime", "Horror", "Thriller", "War", "Western", "History", "Documentary", "Drama"],
    "Animation": ["Western", "War", "Documentary", "Crime"],
    "Documentary": [
        "Action",
        "Comedy",
        "Fantasy",
        "Horror",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "Western",
    ],
}


class Catalogue:
    """All titles, movies first, then series; attributes are of shape (n_titles,) where nothing else is said.

    Attributes
    ----------
    ids, names
        Strings.
    is_series
        Whether it is a series.
    genres, n_genres
        Positions in ``taste.GENRES``, of shape (n_titles, MAX_GENRES), of which the first so many count.
    decade, maturity
        The position of the release decade, of 9, and of the age rating, 0 to 4.
    directors, n_directors, cast, n_cast
        Positions in the guilds, of shapes (n_titles, MAX_DIRECTORS) and (n_titles, MAX_CAST), likewise.
    added
        When it came to the service, in microseconds since 1970; in order among movies and among series.
    directions
        Raw directions of taste, of shape (n_titles, n_dimensions).
    """

    def __init__(self, config: WorldConfig) -> None:
        self._seed = config.seed
        n, rng = config.n_titles, config.rng("catalogue")
        self.is_series = np.arange(n) >= config.n_movies
        self.ids = pa.concat_arrays(
            [
                columns.ids("m", 6, np.arange(config.n_movies) + 1),
                columns.ids("s", 6, np.arange(config.n_series) + 1),
            ]
        )
        self.added = np.concatenate([_arrivals(config, rng, config.n_movies), _arrivals(config, rng, config.n_series)])
        self.genres, self.n_genres = _genres(rng, n)
        following = self.genres[np.arange(n), np.minimum(self.n_genres, MAX_GENRES - 1)]
        self._widens = (self.n_genres < MAX_GENRES) & (following != GENRES.index("Family"))
        self.decade = _decades(rng, self.genres[:, 0], self.is_series)
        self.maturity = _maturity(rng, self.genres, self.n_genres)
        self.names = names.titles(rng, self.genres[:, 0], self.is_series)
        present = config.end.year // 10 * 10
        self.decade_names = pa.array([f"{present - 10 * (N_DECADES - 1 - back)}s" for back in range(N_DECADES)])

        n_directors, n_actors = casting.numbers(n)
        people = names.people(rng, n_directors + n_actors)
        self.director_guild = casting.directors(rng, people.slice(0, n_directors), DECADE_SHARES)
        self.actor_guild = casting.actors(rng, people.slice(n_directors), DECADE_SHARES)
        self.directors, self.n_directors = casting.directed(rng, self.director_guild, self.genres[:, 0], self.decade)
        self.cast, self.n_cast = casting.cast(
            rng, self.actor_guild, self.director_guild, self.directors[:, 0], self.genres[:, :2], self.decade
        )
        most = np.minimum(5 + 9 * (N_DECADES - 1 - self.decade), 16)
        self._seasons = np.minimum(1 + np.floor(rng.exponential(2.2, n)), most).astype(np.int64)
        self._a_season = np.array([6, 8, 10, 12, 13, 22])[pick([0.18, 0.28, 0.26, 0.12, 0.08, 0.08], rng.random(n))]
        self._off = rng.integers(-2, 3, n) * (self._seasons > 2)
        self._runs = rng.random(n) < 0.6
        self.directions = self._directions(rng)

    def events(
        self,
        event_type: EventType,
        title: NDArray[np.int64],
        edition: NDArray[np.int64],
        micros: NDArray[np.int64],
    ) -> pa.RecordBatch:
        """Return the state of titles, all movies or all series, after their first, second, … update.

        ``title`` and ``edition`` (0 when it came, then one more an update) and the event times ``micros`` are
        all of shape (n,).
        """
        change = uniform(self._seed, "title update", title, edition)
        changed = (edition > 0) & ~(self._runs[title] & self.is_series[title])
        maturity = np.where(changed & (change < 0.4), _corrected(self.maturity[title]), self.maturity[title])
        n_cast = np.minimum(self.n_cast[title] + (changed & (change > 0.7)), casting.MAX_CAST)
        n_genres = self.n_genres[title] + (changed & (change >= 0.4) & (change <= 0.7) & self._widens[title])
        fields = {
            "id": self.ids.take(pa.array(title)),
            "timestamp": columns.instants(micros),
            "titulo": self.names.take(pa.array(title)),
            "generos": columns.lists(pa.array(GENRES), self.genres[title], n_genres),
            "directores": columns.lists(self.director_guild.names, self.directors[title], self.n_directors[title]),
            "actores": columns.lists(self.actor_guild.names, self.cast[title], n_cast),
            "clasificacion": columns.taken(LABELS, self._label(title, maturity)),
            "decada_lanzamiento": self.decade_names.take(pa.array(self.decade[title])),
        }
        if event_type == "series":
            fields |= self._extent(title, edition)
        return columns.record_batch(event_type, fields)

    def _extent(self, title: NDArray[np.int64], edition: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Return how many seasons and episodes series have: those that still run gain a season an update."""
        seasons = self._seasons[title] + self._runs[title] * np.minimum(edition, 3)
        episodes = seasons * self._a_season[title] + self._off[title]
        return {
            "numero_temporadas": pa.array(seasons).cast(pa.string()),
            "numero_episodios": pa.array(episodes).cast(pa.string()),
        }

    def _label(self, title: NDArray[np.int64], maturity: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return positions in ``LABELS``."""
        children = np.isin(self.genres[title, 0], [GENRES.index("Family"), GENRES.index("Animation")])
        return maturity + len(_MPA) * self.is_series[title] * (1 + children)

    def _directions(self, rng: np.random.Generator) -> NDArray[np.float64]:
        vectors = genre_vectors()
        first, others = vectors[self.genres[:, 0]], np.zeros((self.genres.shape[0], vectors.shape[1]))
        for place in range(1, MAX_GENRES):
            others += vectors[self.genres[:, place]] * (self.n_genres > place)[:, np.newaxis]
        mix = np.maximum(self.n_genres - 1, 1)[:, np.newaxis]
        genre = np.where(self.n_genres[:, np.newaxis] > 1, 0.6 * first + 0.4 * others / mix, first)
        directors = _mean(self.director_guild.own, self.directors, self.n_directors)
        actors = _mean(self.actor_guild.own, self.cast, self.n_cast)
        directions = genre + directors + actors + own_directions(rng, self.genres.shape[0], 0.25)
        directions[:, PERIOD] += 0.3 * (self.decade - (N_DECADES - 2.5))
        return directions


def _arrivals(config: WorldConfig, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return when n titles come, sorted: a quarter with the opening, a fifth with the history under way."""
    opening, start, end = config.opening_micros, config.start_micros, config.end_micros
    late = rng.random(n) < 0.2
    share = np.maximum(rng.random(n) * 1.3 - 0.3, 0.0)
    minutes = np.where(late, (start - opening) + share * (end - start), share * (start - opening)) // 60_000_000
    minutes[0] = 0
    return opening + np.sort(minutes).astype(np.int64) * 60_000_000


def _genres(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return genres (n, MAX_GENRES), the main one first, and how many of them count (n,)."""
    vectors = genre_vectors()
    together = 3.0 * vectors @ vectors.T + np.log(GENRE_SHARES)
    for one, others in _APART.items():
        for other in others:
            together[GENRES.index(one), GENRES.index(other)] = -np.inf
            together[GENRES.index(other), GENRES.index(one)] = -np.inf
    main = pick(GENRE_SHARES, rng.random(n))
    score = together[main] + gumbel(rng.random((n, len(GENRES))))
    score[np.arange(n), main] = np.inf
    second = np.where(np.arange(len(GENRES)) == main[:, np.newaxis], -np.inf, score).argmax(axis=1)
    third = together[main] + together[second] / 2 + gumbel(rng.random((n, len(GENRES))))
    third[np.arange(n), main] = third[np.arange(n), second] = -np.inf
    return np.stack([main, second, third.argmax(axis=1)], axis=1), 1 + pick([0.3, 0.47, 0.23], rng.random(n))


def _decades(rng: np.random.Generator, genre: NDArray[np.int64], is_series: NDArray[np.bool_]) -> NDArray[np.int64]:
    rising = np.array([_RISING.get(name, 0.0) for name in GENRES])
    share = np.where(is_series[:, np.newaxis], np.log(_SERIES_DECADES), np.log(DECADE_SHARES))
    rise = rising[genre][:, np.newaxis] * np.arange(N_DECADES)
    score = share + rise + gumbel(rng.random((genre.size, N_DECADES)))
    decade: NDArray[np.int64] = score.argmax(axis=1)
    return decade


def _maturity(rng: np.random.Generator, genres: NDArray[np.int64], n_genres: NDArray[np.int64]) -> NDArray[np.int64]:
    step = np.array([_MATURITY[name] for name in GENRES])
    counted = np.arange(MAX_GENRES) < n_genres[:, np.newaxis]
    weight = counted * np.array([1.0, 0.7, 0.5])
    mean = (step[genres] * weight).sum(axis=1) / weight.sum(axis=1)
    exact = np.rint(1.9 + mean + rng.normal(0.0, 0.6, n_genres.size))
    level: NDArray[np.int64] = np.clip(exact, 0, ADULT).astype(np.int64)
    level[(level == ADULT) & (mean > 0.5) & (rng.random(n_genres.size) < 0.02)] = 4
    family = ((genres == GENRES.index("Family")) & counted).any(axis=1)
    return np.where(family, np.minimum(level, 1), level)


def _corrected(maturity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the neighbouring age rating: 0 and 1 change places, 2 and 3 do, and 4 becomes 3."""
    return np.where(maturity == 4, ADULT, maturity ^ 1)


def _mean(values: NDArray[np.float64], positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of the values at the first so many positions of every row."""
    counted = (np.arange(positions.shape[1]) < lengths[:, np.newaxis])[:, :, np.newaxis]
    mean: NDArray[np.float64] = (values[positions] * counted).sum(axis=1) / lengths[:, np.newaxis]
    return mean
