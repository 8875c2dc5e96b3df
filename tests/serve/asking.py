"""A program: ``asking.py OVERRIDES`` serves the current model, asks for each kind of list, and prints what it compiled.

OVERRIDES are settings as JSON. The program prints, as JSON, the kernels that were ready before the first question, the
signatures that numba compiled or loaded since, and how many items each question got.
"""

import json
import sys
from typing import Any

from numba.core.dispatcher import Dispatcher
from tests.serve.living import deed, new_title, new_user
from tests.waiting import until

from nextreel.model import rank_kernels, solve_kernels
from nextreel.serve.answers import Answers
from nextreel.serve.choices import Choice
from nextreel.serve.live import Asked
from nextreel.serve.people import Profile
from nextreel.serve.serving import Serving
from nextreel.settings import AffinityWeights, load

KERNELS = {
    name: kernel
    for module in (rank_kernels, solve_kernels)
    for name, kernel in vars(module).items()
    if isinstance(kernel, Dispatcher)
}
EVENTS = [
    new_user(1, "new", "Drama"),
    new_title(1, "one", "War"),
    new_title(1, "two", "Drama"),
    deed(2, "new", "one", stars=5.0),
    deed(3, "new", "t01", stars=4.0),
    deed(4, "u11", "one", stars=2.0),
    deed(5, "u12", "t02", stars=3.5),
]
USERS = {"as trained": "u10", "without ratings": "u00", "with events": "u12", "new": "new", "unknown": "nobody"}
CHOICES = {
    "all": Asked(),
    "diverse": Asked(diversity=0.5),
    "of a genre": Asked(choice=Choice(genres=frozenset({"War"}))),
}


def signatures() -> set[tuple[str, str]]:
    return {(name, str(each)) for name, kernel in KERNELS.items() for each in kernel.signatures}


def ask(answers: Answers) -> dict[str, int]:
    """Ask everything, and return how many items each question got."""
    items: dict[str, list[Any]] = {}
    likes = Profile("", genres=["Drama"])
    for which, asked in CHOICES.items():
        for who, user in USERS.items():
            for explain in (False, True):
                page = answers.recommendations(user, asked, explain)
                items[f"{which} for a user {who}, explain {explain}"] = page["items"]
        for ranked in ("popular", "trending", "new"):
            items[f"{which} that are {ranked}"] = answers.listed(ranked, asked, "u10")["items"]
        for title in ("t01", "one"):
            for seen_by in (None, "u10"):
                items[f"{which} like {title} for {seen_by}"] = answers.similar(title, asked, seen_by)["items"]
        for group in ([], ["u10", "new"]):
            page = answers.wanted(likes, {"t01": 4.0, "one": 3.0}, group, asked, explain=not group)
            items[f"{which} for preferences and {group}"] = page["items"]
    items["why"] = [answers.why("u10", "t03")]
    items["ratings"] = answers.estimates([("u10", "t03"), ("new", "one")])["items"]
    return {question: len(got) for question, got in items.items()}


def main(overrides: dict[str, str]) -> None:
    serving = Serving(load(overrides, {}))
    serving.start()
    try:
        until(lambda: not serving.is_waiting and not serving.not_ready(), serving.not_ready)
        ready = signatures()
        live = serving.answers().live
        live.apply(EVENTS)
        items = ask(Answers(live, AffinityWeights()))
        late = sorted(signatures() - ready)
        json.dump({"ready": sorted({name for name, _ in ready}), "late": late, "items": items}, sys.stdout)
    finally:
        serving.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
