"""What a reverse proxy says of a request: who asks, and under which path prefix. Only trusted proxies are believed."""

import ipaddress
import re
from functools import lru_cache

from starlette.types import Scope

#: A path prefix: segments of letters, digits and a few marks, so that it can stand in any header or page.
PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_LONGEST_PREFIX = 256
#: Addresses of a header X-Forwarded-For that are looked at, from its end.
_HOPS = 20

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The trusted proxies, and the prefix that the server has where no proxy names another."""

    def __init__(self, trusted: list[str], root_path: str):
        self._networks = tuple(ipaddress.ip_network(each, strict=False) for each in trusted)
        self._root_path = root_path
        self._trusts = lru_cache(4096)(self._is_in_networks)

    def apply(self, scope: Scope) -> None:
        """Set a request's client and prefix (ASGI's ``root_path``, which its ``path`` begins with)."""
        prefix = self._root_path
        if self._networks and scope.get("client") and self._trusts(scope["client"][0]):
            forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if forwarded:
                scope["client"] = self._client(b",".join(forwarded).decode("latin-1"), scope["client"])
            given = next((value for name, value in scope["headers"] if name == b"x-forwarded-prefix"), b"")
            prefix = _as_prefix(given.decode("latin-1")) or prefix
        if not prefix:
            return
        path: str = scope["path"]
        root = self._root_path
        if root and (path == root or path.startswith(root + "/")):  # the proxy has left it there
            path = path[len(root) :]
        scope["root_path"], scope["path"] = prefix, prefix + path

    def _client(self, forwarded: str, peer: tuple[str, int]) -> tuple[str, int]:
        """Return the last address that no trusted proxy has: whatever stands before it, a client may have made up."""
        for each in reversed(forwarded.rsplit(",", _HOPS)[-_HOPS:]):
            address = _without_port(each.strip())
            if not _is_address(address):
                return peer
            if not self._trusts(address):
                return address, 0
        return peer

    def _is_in_networks(self, address: str) -> bool:
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._networks)


def route_path(scope: Scope) -> str:
    """Return a request's path without the prefix under which the server is reached."""
    path: str = scope["path"]
    return path[len(scope["root_path"]) :] if scope.get("root_path") else path


def _as_prefix(given: str) -> str:
    prefix = given.strip().rstrip("/")
    return prefix if len(prefix) <= _LONGEST_PREFIX and PREFIX.fullmatch(prefix) else ""


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def loggable_path(scope: Scope) -> str:
    """Return a request's path as it was sent, still percent-encoded: decoded it may hold line ends and escapes."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("ascii", "backslashreplace")
