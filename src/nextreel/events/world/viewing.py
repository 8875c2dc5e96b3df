"""What users watch, list, skip and rate: the interactions, in blocks that need no other block.

An evening (a sitting, see ``schedule``) is a short story of four events around up to three titles. For each
title the user is dealt a few (see ``deck``) and takes the one that fame and taste make likeliest. Taste
decides how far it is watched and how it is rated, too.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.events.contract import RATING_MAX, RATING_MIN, Verb
from nextreel.events.draws import gumbel, pick, uniform
from nextreel.events.world import columns
from nextreel.events.world.audience import TEEN, Audience
from nextreel.events.world.catalogue import ADULT, Catalogue
from nextreel.events.world.clock import Clock
from nextreel.events.world.config import WorldConfig
from nextreel.events.world.deck import N_DEALS, Deck
from nextreel.events.world.schedule import SITTINGS, Schedule
from nextreel.events.world.taste import NOISE_SD, TASTE_SD, Taste

_WATCH, _RATE, _LIST = range(3)
#: Stories: how often each happens, and its four events as (which title, what).
_STORIES: Final = [
    (0.19, [(0, _WATCH), (0, _RATE), (1, _WATCH), (1, _RATE)]),
    (0.18, [(0, _WATCH), (0, _RATE), (1, _WATCH), (2, _LIST)]),
    (0.20, [(1, _LIST), (0, _WATCH), (0, _RATE), (2, _RATE)]),
    (0.20, [(0, _WATCH), (1, _WATCH), (2, _WATCH), (2, _RATE)]),
    (0.20, [(0, _WATCH), (0, _RATE), (1, _RATE), (2, _RATE)]),
    (0.03, [(0, _WATCH), (0, _RATE), (1, _LIST), (2, _LIST)]),
]
_STORY_TITLE: Final = np.array([[title for title, _ in story] for _, story in _STORIES])
_STORY_ACT: Final = np.array([[act for _, act in story] for _, story in _STORIES])
_STORY_RATES: Final = np.array([[(title, _RATE) in story for title in range(N_DEALS)] for _, story in _STORIES])

N_STEPS: Final = 4
_HOUR: Final = 3_600_000_000
ROWS: Final = SITTINGS * N_STEPS

_VERBS: Final = [Verb.PLAY.value, Verb.COMPLETE.value, Verb.SKIP.value, Verb.RATE.value, Verb.LIST.value]
_PLAY, _COMPLETE, _SKIP, _RATED, _LISTED = range(5)

_DEVICES: Final = ["mobile", "tablet", "tv", "web", "console"]
#: Shares of the devices by age group, of shape (n_ages, n_devices).
_DEVICE_SHARES: Final = np.array([
    [0.46, 0.14, 0.12, 0.10, 0.18], [0.40, 0.06, 0.22, 0.18, 0.14], [0.28, 0.07, 0.40, 0.15, 0.10],
    [0.20, 0.12, 0.50, 0.13, 0.05], [0.16, 0.14, 0.55, 0.14, 0.01], [0.10, 0.17, 0.61, 0.12, 0.00],
    [0.06, 0.18, 0.68, 0.08, 0.00],
])  # fmt: skip
_HABIT: Final = 0.7

#: How strongly taste pulls, beside fame, when a title is chosen; and how little what is too mature does.
_TASTE_PULL, _TOO_MATURE = 1.2, np.float32(-6.0)

#: The stars from which a title is mostly watched to its end, and how much chance has to do with it.
_WORTH_FINISHING, _FINISHING_SD = 3.35, 0.7


class Viewing:
    """The interactions of a world, ``ROWS`` a block; only the block in which the history ends has fewer."""

    def __init__(self, config: WorldConfig, audience: Audience, catalogue: Catalogue, taste: Taste) -> None:
        self._config, self._audience, self._catalogue, self._taste = config, audience, catalogue, taste
        self._n_past = config.n_interactions
        self._n_past_blocks = -(-self._n_past // ROWS)
        self._clock = Clock(config)
        self._schedule = Schedule(audience.activity, self._cohorts())
        self._deck = Deck(config, taste.quality, self._n_past / N_STEPS / config.n_users)
        self._opening = np.flatnonzero(catalogue.added < config.start_micros)
        draw = uniform(config.seed, "habit", np.arange(config.n_users))
        edges = np.cumsum(_DEVICE_SHARES, axis=1)[audience.age]
        self._habit = (draw[:, np.newaxis] * edges[:, -1:] >= edges).sum(axis=1)

    def place(self, row: int) -> tuple[int, int]:
        """Return the block that has a row and the row's place in it."""
        if row < self._n_past:
            return divmod(row, ROWS)
        block, place = divmod(row - self._n_past, ROWS)
        return self._n_past_blocks + block, place

    def first(self, block: int) -> int:
        """Return the first row of a block."""
        later = block - self._n_past_blocks
        return self._n_past + later * ROWS if later >= 0 else block * ROWS

    def block(self, block: int) -> pa.RecordBatch:
        """Return the interactions of a block, in event-time order."""
        first = self.first(block)
        rows = np.arange(first, self.first(block + 1))
        rng = self._config.rng(f"interactions {block}")
        micros = self._clock.times(rows, rng.random(rows.size))
        user, number = self._schedule.sittings(block)
        held = rng.permutation(SITTINGS)[: -(-rows.size // N_STEPS)]
        user, number = user[held], number[held]
        title = self._chosen(rng, user, number, int(micros[0]))

        story = pick([share for share, _ in _STORIES], rng.random(user.size))
        sitting, step = np.divmod(_order(rng, micros, user.size)[: rows.size], N_STEPS)
        which, act = _STORY_TITLE[story[sitting], step], _STORY_ACT[story[sitting], step]
        stars = self._taste.stars(user[:, np.newaxis], title)
        watched = _watched(rng, stars, _STORY_RATES[story])[sitting, which]
        rating = _rating(stars[sitting, which] + NOISE_SD * rng.standard_normal(rows.size, np.float32))
        device = self._devices(rng, user)[sitting]

        verb = np.select([act == _RATE, act == _LIST, watched >= 90, watched < 10], [_RATED, _LISTED, _COMPLETE, _SKIP])
        return columns.record_batch(
            "interaction",
            {
                "id": columns.ids("i", 8, rows + 1),
                "timestamp": columns.instants(micros),
                "id_usuario": self._audience.ids.take(pa.array(user[sitting])),
                "id_contenido": self._catalogue.ids.take(pa.array(title[sitting, which])),
                "evento": columns.taken(_VERBS, verb),
                "calificacion": pa.array(rating, mask=verb != _RATED),
                "porcentaje_visto": pa.array(watched, mask=verb == _LISTED),
                "dispositivo": columns.taken(_DEVICES, device),
            },
        )

    def _cohorts(self) -> list[tuple[int, int]]:
        """Return from which block on how many users have signed up: in up to 16 steps until all have."""
        blocks = self._n_past_blocks
        starts = sorted({blocks * step // 16 for step in range(16)}) if blocks else []
        cohorts = []
        for block in starts:
            began = self._clock.times(np.array([block * ROWS]), np.zeros(1))[0]
            cohorts.append((block, int(np.searchsorted(self._audience.joined, began))))
        return [*cohorts, (blocks, self._config.n_users)]

    def _chosen(
        self, rng: np.random.Generator, user: NDArray[np.int64], number: NDArray[np.int64], began: int
    ) -> NDArray[np.int64]:
        """Return the titles of sittings, of shape (n, N_DEALS), among those that the service has by then."""
        dealt = self._deck.deals(user, number)
        pull = self._taste.appeal(user[:, np.newaxis, np.newaxis], dealt) * np.float32(_TASTE_PULL / TASTE_SD)
        pull += self._deck.pull[dealt]
        pull += gumbel(rng.random(dealt.shape)).astype(np.float32)
        teen = (self._audience.age[user] == TEEN)[:, np.newaxis, np.newaxis]
        pull += _TOO_MATURE * (teen & (self._catalogue.maturity[dealt] >= ADULT))
        pull[self._catalogue.added[dealt] >= began] = -np.inf
        best = pull.argmax(axis=2)[:, :, np.newaxis]
        instead = self._opening[rng.integers(0, self._opening.size, best.shape[:2])]
        found = np.take_along_axis(pull, best, axis=2)[:, :, 0] > -np.inf
        chosen: NDArray[np.int64] = np.where(found, np.take_along_axis(dealt, best, axis=2)[:, :, 0], instead)
        return chosen

    def _devices(self, rng: np.random.Generator, user: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the devices of sittings: mostly the user's own, else one that the age group uses."""
        edges = np.cumsum(_DEVICE_SHARES, axis=1)[self._audience.age[user]]
        other = (rng.random((user.size, 1)) * edges[:, -1:] >= edges).sum(axis=1)
        device: NDArray[np.int64] = np.where(rng.random(user.size) < _HABIT, self._habit[user], other)
        return device


def _order(rng: np.random.Generator, micros: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the events of n sittings (sitting * N_STEPS + step) in the order in which they happen.

    Those of a sitting come some minutes to an hour and a half apart, or closer where the block, whose times
    ``micros`` are, is too short for that.
    """
    start = rng.uniform(0.0, micros.size, n)
    row = start.astype(np.int64)
    an_hour = np.searchsorted(micros, micros[row] + _HOUR) - row
    apart = np.minimum(an_hour, micros.size / 24.0)[:, np.newaxis] * rng.uniform(0.2, 1.6, (n, N_STEPS))
    apart[:, 0] = start
    order: NDArray[np.int64] = np.argsort(np.cumsum(apart, axis=1).ravel(), kind="stable")
    return order


def _watched(rng: np.random.Generator, stars: NDArray[np.float32], rated: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return percentages watched, with one decimal: to the end what is liked, little of what is not.

    ``stars`` are ratings without noise, ``rated`` says what the user also rates (nobody rates what they
    skip); all of shape (n, N_DEALS).
    """
    short = _WORTH_FINISHING - stars - _FINISHING_SD * rng.standard_normal(stars.shape)
    draw = rng.random(stars.shape)
    part = 89.0 * draw ** (0.9 + 2.0 * np.maximum(short, 0.0))
    part = np.where(rated, 12.0 + 0.86 * part, part)
    percent: NDArray[np.float64] = np.where(short < 0.0, 92.0 + 8.0 * np.sqrt(draw), part)
    return percent.round(1)


def _rating(stars: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return stars in halves, inside the scale."""
    return np.clip(np.rint(2.0 * stars.astype(np.float64)) / 2.0, RATING_MIN, RATING_MAX)
