"""Expensive questions have threads of their own: a few at a time, a bounded number that waits."""

import asyncio
import threading

import pytest
from starlette.exceptions import HTTPException

from nextreel.insight.turns import Turns


def test_questions_wait_for_their_turn_and_too_many_are_refused() -> None:
    async def storm() -> tuple[list[object], int]:
        turns, going, free = Turns(2, 5), threading.Semaphore(0), threading.Event()
        at_a_time, most = 0, 0
        counting = threading.Lock()

        def question(n: int) -> int:
            nonlocal at_a_time, most
            with counting:
                at_a_time += 1
                most = max(most, at_a_time)
            going.release()
            free.wait()
            with counting:
                at_a_time -= 1
            return n

        asked = [asyncio.ensure_future(turns.run(question, n)) for n in range(20)]
        await asyncio.to_thread(lambda: [going.acquire() for _ in range(2)])
        free.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        later = await turns.run(question, 99)
        turns.close()
        return [*found, later], most

    found, most = asyncio.run(storm())
    assert most == 2
    assert [each for each in found if isinstance(each, int)] == [0, 1, 2, 3, 4, 5, 6, 99]
    refused = [each for each in found if isinstance(each, HTTPException)]
    assert len(refused) == 13
    assert {each.status_code for each in refused} == {503}
    assert all(each.headers is not None and "Retry-After" in each.headers for each in refused)


def test_an_error_of_a_question_is_its_own() -> None:
    def wrong() -> None:
        raise ValueError("a question without an answer")

    async def asked() -> None:
        turns = Turns(1, 0)
        with pytest.raises(ValueError, match="without an answer"):
            await turns.run(wrong)
        assert await turns.run(str, 7) == "7"
        turns.close()

    asyncio.run(asked())
