"""Directors and actors of the synthetic world, and who works on what.

Directors have a genre and a decade in which they mostly work; actors too, and each director has a troupe
among the actors of that genre and time.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.events.draws import gumbel, pick
from nextreel.events.world.taste import GENRE_SHARES, GENRES, genre_vectors, own_directions

MAX_DIRECTORS, MAX_CAST = 2, 6

_CANDIDATES = 8
_FEWEST_ACTORS, _FEWEST_DIRECTORS = 2 * _CANDIDATES, 2


@dataclass(frozen=True)
class Guild:
    """People of one trade, in order of their genre and, within it, of their time.

    ``genre`` and ``decade`` are positions and of shape (n,), like ``names``; ``own`` is what they add to a
    title and ``vectors`` their whole direction, both of shape (n, n_dimensions). ``first``
    of shape (n_genres + 1,) says where each genre's people begin.
    """

    names: pa.StringArray
    genre: NDArray[np.int64]
    decade: NDArray[np.int64]
    own: NDArray[np.float64]
    vectors: NDArray[np.float32]
    first: NDArray[np.int64]

    def somebody(self, genre: NDArray[np.int64], draw: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return people of each genre, evenly for draws in [0, 1); shapes that broadcast."""
        first, size = self.first[genre], np.diff(self.first)[genre]
        return first + np.floor(draw * size).astype(np.int64)


def directors(rng: np.random.Generator, names: pa.StringArray, decade_weights: NDArray[np.float64]) -> Guild:
    """Return directors of these names; each genre has some."""
    return _guild(rng, names, decade_weights, _FEWEST_DIRECTORS, own_length=0.4)


def actors(rng: np.random.Generator, names: pa.StringArray, decade_weights: NDArray[np.float64]) -> Guild:
    """Return actors of these names; each genre has enough for a troupe."""
    return _guild(rng, names, decade_weights, _FEWEST_ACTORS, own_length=0.6)


def numbers(n_titles: int) -> tuple[int, int]:
    """Return how many directors and how many actors so many titles need."""
    return (
        max(n_titles // 4, _FEWEST_DIRECTORS * len(GENRES)),
        max(n_titles * 4 // 5, _FEWEST_ACTORS * len(GENRES)),
    )


def directed(
    rng: np.random.Generator, guild: Guild, genre: NDArray[np.int64], decade: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the directors (n, MAX_DIRECTORS) of titles of a genre and decade, and how many each has (n,)."""
    candidates = guild.somebody(genre[:, np.newaxis], rng.random((genre.size, _CANDIDATES)))
    chosen, available = _best(rng, guild, candidates, decade, np.zeros(_CANDIDATES), MAX_DIRECTORS)
    return chosen, np.minimum(1 + (rng.random(genre.size) < 0.12), available)


def cast(
    rng: np.random.Generator,
    players: Guild,
    makers: Guild,
    lead: NDArray[np.int64],
    genres: NDArray[np.int64],
    decade: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the casts (n, MAX_CAST) of titles, and how many each has (n,), from 2 up.

    Parameters
    ----------
    lead
        The first director, a position in ``makers``, of shape (n,).
    genres
        The first and the second genre, of shape (n, 2).
    decade
        The decade of release, of shape (n,).
    """
    place = (makers.genre * 100 + makers.decade)[lead]
    start = np.searchsorted(players.genre * 100 + players.decade, place) + lead * 7 % 5 - 2
    home = makers.genre[lead]
    start = np.clip(start, players.first[home], players.first[home + 1] - _CANDIDATES)
    troupe = start[:, np.newaxis] + np.arange(_CANDIDATES)
    peers = players.somebody(genres[:, [0, 0, 0, 0, 1, 1]], rng.random((decade.size, 6)))
    liking = np.concatenate([np.full(_CANDIDATES, 1.0), np.zeros(6)])
    chosen, _ = _best(rng, players, np.concatenate([troupe, peers], axis=1), decade, liking, MAX_CAST)
    return chosen, 2 + pick([0.1, 0.2, 0.35, 0.25, 0.1], rng.random(decade.size))


def _guild(
    rng: np.random.Generator,
    names: pa.StringArray,
    decade_weights: NDArray[np.float64],
    fewest: int,
    own_length: float,
) -> Guild:
    n = len(names)
    every = np.repeat(np.arange(len(GENRES)), fewest)
    genre = np.concatenate([every, pick(GENRE_SHARES, rng.random(n - every.size))])
    decade = pick(decade_weights, rng.random(n))
    order = np.lexsort((decade, genre))
    genre, decade = genre[order], decade[order]
    own = own_directions(rng, n, own_length)
    first = np.searchsorted(genre, np.arange(len(GENRES) + 1))
    return Guild(names, genre, decade, own, (genre_vectors()[genre] + own).astype(np.float32), first)


def _best(
    rng: np.random.Generator,
    guild: Guild,
    candidates: NDArray[np.int64],
    decade: NDArray[np.int64],
    liking: NDArray[np.float64],
    n_best: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the likeliest of the candidates, those of the right time first, and how many differ (n,)."""
    again = np.triu(candidates[:, :, np.newaxis] == candidates[:, np.newaxis, :], 1).any(axis=1)
    late = np.abs(guild.decade[candidates] - decade[:, np.newaxis])
    score = liking - late + gumbel(rng.random(candidates.shape))
    order = np.argsort(np.where(again, np.inf, -score), axis=1)[:, :n_best]
    return np.take_along_axis(candidates, order, axis=1), (~again).sum(axis=1)
