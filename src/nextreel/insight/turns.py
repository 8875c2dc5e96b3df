"""Threads for expensive questions: a few at a time, so that everything else stays quick."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException

from nextreel.processes import lower_thread_priority

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """Answers questions in ``n_threads`` threads of low priority. Not more than ``n_waiting`` wait for their turn."""

    def __init__(self, n_threads: int, n_waiting: int):
        self._most = n_threads + n_waiting
        self._asked = 0
        self._threads = ThreadPoolExecutor(n_threads, "insight", lower_thread_priority)

    async def run(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer to a question. Raises `HTTPException` (503) where too many wait already."""
        if self._asked >= self._most:
            raise HTTPException(503, f"{self._asked} questions wait already. Try again.", {"Retry-After": "1"})
        self._asked += 1
        try:
            return await asyncio.wrap_future(self._threads.submit(question, *args, **kwargs))
        finally:
            self._asked -= 1

    def close(self) -> None:
        """Let what has begun end, and drop what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)
