"""How much a client may ask for in a second."""

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

#: Clients whose budgets are kept; beyond them the one that has asked for longest nothing begins with a full budget.
_CLIENTS = 10_000


@dataclass
class _Budget:
    left: float
    at: float


class RateLimit:
    """A token bucket per client: ``rate`` requests a second, and as many at once; 0 for any number."""

    def __init__(self, rate: float):
        self.rate = rate
        self._most = max(1.0, rate)
        self._clients: OrderedDict[str, _Budget] = OrderedDict()

    def spend(self, client: str) -> bool:
        """Take a request off a client's budget. Return False where it is used up."""
        if self.rate == 0:
            return True
        now = time.monotonic()
        budget = self._clients.pop(client, None) or _Budget(self._most, now)
        budget.left, budget.at = min(self._most, budget.left + (now - budget.at) * self.rate), now
        self._clients[client] = budget
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)
        if budget.left < 1:
            return False
        budget.left -= 1
        return True


@lru_cache(4096)
def budget_of(address: str) -> str:
    """Return whose budget an address uses: of IPv6 the network (/64), since each client has a whole one."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
