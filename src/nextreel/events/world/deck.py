"""What users come across: a few titles at a time, from a deck that each user has in an order of their own.

The deck holds the whole catalogue, and what was dealt does not come again before the deck is through. Drawing
from all titles by fame instead would show everybody the famous ones over and over: too many pairs of a user
and a title would repeat.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextreel.events.draws import uniform, whole
from nextreel.events.world.config import WorldConfig
from nextreel.events.world.taste import TITLE_SD

#: Cards in a deal, and deals in a sitting.
N_CARDS, N_DEALS = 10, 3

#: Fame is (rank + shift * n_titles) ** -power, as of Zipf and Mandelbrot.
_ZIPF_POWER, _ZIPF_SHIFT = 1.5, 0.02
_N_ORDERS: Final = 4096


class Deck:
    """The catalogue as cards, by fame.

    Attributes
    ----------
    fame
        How often each title is come across before taste has a say: adds up to 1; shape (n_titles,).
    pull
        The logarithm of the part of its fame that one card of a title has, of shape (n_titles,).

    Parameters
    ----------
    quality
        The stars that titles have of themselves, of shape (n_titles,): good ones are more famous.
    sittings_each
        How many sittings a user has in the history, on average.
    """

    def __init__(self, config: WorldConfig, quality: NDArray[np.float32], sittings_each: float) -> None:
        self._seed, n = config.seed, quality.size
        rng = config.rng("deck")
        better = np.argsort(-0.5 * quality / TITLE_SD - rng.normal(size=n))
        fame = np.empty(n)
        fame[better] = (np.arange(n) + 1.0 + _ZIPF_SHIFT * n) ** -_ZIPF_POWER
        self.fame = fame / fame.sum()

        self._n_cards = max(1, min(N_CARDS, n // N_DEALS))
        # A title with one card in a large deck could not be as famous as it should; with more cards than the
        # deck has room for in a user's history, everybody would get it repeatedly.
        most = max(1, int(n / self._n_cards / max(N_DEALS * sittings_each, 1.0)))
        copies = np.clip(np.ceil(2.0 * self.fame * n / self._n_cards), 1, most).astype(np.int64)
        self.pull = (np.log(self.fame) - np.log(copies)).astype(np.float32)
        self._cards = rng.permutation(np.repeat(np.arange(n), copies))
        size = self._cards.size
        strides = np.flatnonzero(np.gcd(np.arange(size), size) == 1) if size > 1 else np.array([1])
        self._strides = strides[whole(strides.size, rng.random(_N_ORDERS))]
        self._laps = max(1, size // (N_DEALS * self._n_cards))

    def deals(self, user: NDArray[np.int64], sitting: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the titles dealt in users' sittings, each counted from 0 for its user.

        Shapes (n,) and (n,) in, (n, N_DEALS, cards in a deal) out. There are fewer than N_CARDS only where
        the catalogue is tiny.
        """
        lap, place = np.divmod(sitting, self._laps)
        stride = self._strides[whole(_N_ORDERS, uniform(self._seed, "stride", user, lap))]
        start = whole(self._cards.size, uniform(self._seed, "cut", user, lap))
        dealt = N_DEALS * self._n_cards
        positions = (place * dealt)[:, np.newaxis] + np.arange(dealt)
        positions = (positions * stride[:, np.newaxis] + start[:, np.newaxis]) % self._cards.size
        return self._cards[positions].reshape(user.size, N_DEALS, self._n_cards)
