"""The users of the synthetic world: who they are, when they came, what they say that they like."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.events.draws import gumbel, pick, uniform, whole
from nextreel.events.world import columns, names, taste
from nextreel.events.world.catalogue import ADULT, DECADE_SHARES, LABELS, N_DECADES, Catalogue
from nextreel.events.world.config import WorldConfig
from nextreel.events.world.taste import GENRES, N_DIMENSIONS

AGES: Final = ["13-17", "18-24", "25-34", "35-44", "45-54", "55-64", "65+"]
_AGE_SHARES: Final = [0.06, 0.18, 0.26, 0.2, 0.14, 0.1, 0.06]
TEEN: Final = 0

#: A service in Europe's time zones, so that everybody's evening is at much the same hour of UTC.
_COUNTRIES: Final = {
    "Spain": 30, "Portugal": 9, "France": 12, "Italy": 10, "Germany": 10, "United Kingdom": 9, "Ireland": 3,
    "Netherlands": 4, "Belgium": 3, "Poland": 4, "Sweden": 2, "Norway": 1, "Czechia": 2, "Switzerland": 1,
}  # fmt: skip

#: How far the oldest are from the youngest along each axis, in standard deviations.
_AGEING: Final = {
    taste.THRILLS: -0.8, taste.WONDER: -0.9, taste.HEART: 0.4, taste.IDEAS: 0.7, taste.HERITAGE: 1.0,
    taste.PERIOD: -1.4,
}  # fmt: skip

_ACTIVITY_SIGMA: Final = 0.8
_MAX_GENRES, _MAX_PEOPLE, _MAX_DECADES = 5, 4, 3
_KNOWN_PEOPLE: Final = 15

#: The share of users who say nothing at all.
_SILENT: Final = 0.12


class Audience:
    """All users, in the order in which they signed up; attributes are of shape (n_users,).

    Attributes
    ----------
    ids
        Strings.
    age
        Positions in ``AGES``.
    joined
        When they signed up, in microseconds since 1970.
    activity
        How much of all that is watched they watch: adds up to 1.
    directions
        Raw directions of taste, of shape (n_users, n_dimensions).
    """

    def __init__(self, config: WorldConfig) -> None:
        self._seed = config.seed
        n, rng = config.n_users, config.rng("audience")
        self.ids = columns.ids("u", 6, np.arange(n) + 1)
        self.age = pick(_AGE_SHARES, rng.random(n))
        self.joined = _sign_ups(config, rng)
        activity = rng.lognormal(0.0, _ACTIVITY_SIGMA, n)
        self.activity = activity / activity.sum()
        self.directions = rng.normal(size=(n, N_DIMENSIONS))
        for axis, by_age in _AGEING.items():
            self.directions[:, axis] += by_age * (self.age / (len(AGES) - 1) - 0.4)
        self._names = names.usernames(rng, n)
        self._country = pick(list(_COUNTRIES.values()), rng.random(n))

    def events(
        self,
        model: taste.Taste,
        catalogue: Catalogue,
        user: NDArray[np.int64],
        edition: NDArray[np.int64],
        micros: NDArray[np.int64],
    ) -> pa.RecordBatch:
        """Return the profiles of users after their first, second, … update.

        ``user`` and ``edition`` (0 at sign-up, then one more an update) and the event times ``micros`` are
        all of shape (n,).
        """
        fields = {
            "id": self.ids.take(pa.array(user)),
            "timestamp": columns.instants(micros),
            "nombre_usuario": self._names.take(pa.array(user)),
            "fecha_suscripcion": columns.instants(self.joined[user]).cast(pa.date32(), safe=False).cast(pa.string()),
            "pais": columns.taken(list(_COUNTRIES), self._country[user]),
            "grupo_edad": columns.taken(AGES, self.age[user]),
        }
        said = _Said(self._seed, model.users[user], self.age[user], user, edition)
        return columns.record_batch("user", fields | said.genres() | said.people(catalogue) | said.rest(catalogue))


class _Said:
    """What n users say that they like: some nothing, some a genre or two, few everything."""

    def __init__(
        self,
        seed: int,
        vectors: NDArray[np.float32],
        age: NDArray[np.int64],
        user: NDArray[np.int64],
        edition: NDArray[np.int64],
    ) -> None:
        self._seed, self._vectors, self._age, self._user, self._edition = seed, vectors, age, user, edition
        # Who changes a profile is a little keener than before.
        self._keen = np.minimum(uniform(seed, "keen", user) + 0.08 * np.minimum(edition, 3), 0.999)
        scores = vectors.astype(np.float64) @ taste.genre_vectors().T + 0.3 * np.log(taste.GENRE_SHARES)
        self._genres = np.argsort(-scores - 0.35 * gumbel(self._draw("genres", len(GENRES))), axis=1)

    def genres(self) -> dict[str, pa.Array]:
        """Return the favourite genres: up to 5, none from every eighth user."""
        count = 1 + whole(_MAX_GENRES - 1, self._keen) + (self._draw("n genres", 1)[:, 0] < 0.5)
        chosen = self._genres[:, :_MAX_GENRES]
        return {"generos": columns.lists(pa.array(GENRES), chosen, np.where(self._keen < _SILENT, 0, count))}

    def people(self, catalogue: Catalogue) -> dict[str, pa.Array]:
        """Return favourite directors and actors: the best liked of those known from the favourite genres."""
        fields = {}
        for name, guild, least in (
            ("directores", catalogue.director_guild, 0.45),
            ("actores", catalogue.actor_guild, 0.4),
        ):
            known = guild.somebody(
                np.repeat(self._genres[:, :3], _KNOWN_PEOPLE // 3, axis=1), self._draw(name, _KNOWN_PEOPLE)
            )
            score = np.einsum("nd,nkd->nk", self._vectors, guild.vectors[known])
            again = np.triu(known[:, :, np.newaxis] == known[:, np.newaxis, :], 1).any(axis=1)
            best = np.argsort(np.where(again, np.inf, -score), axis=1)[:, :_MAX_PEOPLE]
            count = np.minimum(1 + whole(_MAX_PEOPLE, self._draw("n " + name, 1)[:, 0]), (~again).sum(axis=1))
            fields[name] = columns.lists(
                guild.names, np.take_along_axis(known, best, axis=1), np.where(self._keen < least, 0, count)
            )
        return fields

    def rest(self, catalogue: Catalogue) -> dict[str, pa.Array]:
        """Return the age rating that suits and the favourite decades."""
        draw = self._draw("rating", 3)
        dark = self._vectors[:, taste.DARKNESS] - self._vectors[:, taste.FAMILY]
        level = np.clip(np.rint(1.6 + 0.5 * dark + draw[:, 0]), 0, ADULT).astype(np.int64)
        level = np.where(self._age == TEEN, np.minimum(level, ADULT - 1), level)
        label = level + 5 * (draw[:, 1] < 0.4)
        slope = self._vectors[:, taste.PERIOD, np.newaxis] * 0.35 + 0.1
        # Around the decade in which one was young.
        youth = N_DECADES - 1 - np.maximum(self._age - 1, 0)
        young = -0.3 * np.abs(np.arange(N_DECADES) - youth[:, np.newaxis])
        chance = 0.5 * gumbel(self._draw("decades", N_DECADES))
        score = slope * np.arange(N_DECADES) + np.log(DECADE_SHARES) + young + chance
        count = np.where(self._keen < 0.35, 0, 1 + whole(_MAX_DECADES, self._draw("n decades", 1)[:, 0]))
        favourites = np.argsort(-score, axis=1)[:, :_MAX_DECADES]
        return {
            "clasificacion": columns.taken(LABELS, label, (self._keen >= _SILENT) & (draw[:, 2] < 0.8)),
            "decadas_favoritas": columns.lists(catalogue.decade_names, favourites, count),
        }

    def _draw(self, purpose: str, n: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1), n of them a user, of shape (n_users, n): others in each edition."""
        user, edition = self._user[:, np.newaxis], self._edition[:, np.newaxis]
        return uniform(self._seed, purpose, user, edition, np.arange(n))


def _sign_ups(config: WorldConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return when users sign up, sorted: the first with the opening, a third with the history under way."""
    n, opening, start, end = config.n_users, config.opening_micros, config.start_micros, config.end_micros
    share = rng.random(n)
    late = rng.random(n) < 0.35
    seconds = np.where(late, (start - opening) + share * (end - start), share**0.6 * (start - opening)) // 1_000_000
    seconds[0] = 0
    return opening + np.sort(seconds).astype(np.int64) * 1_000_000
