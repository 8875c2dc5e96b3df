"""The search for better settings: it finds them, goes on where it was interrupted, and never sees the test part."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.train.test_fit import likes
from tests.train.tuning import TRAINER, in_parts, ratings, settings, tuned

from nextreel.model.traits import without_traits
from nextreel.ratings.sources import SOURCES
from nextreel.settings import Settings, TuningSettings
from nextreel.train.compare import compare
from nextreel.train.dataset import Profiles
from nextreel.train.question import TUNED
from nextreel.train.study import journal
from nextreel.train.tune import Limits, Standing, studies_file, tune

ROOT = Path(__file__).parents[2]


def trials(given: Settings) -> dict[str, list[tuple[dict[str, float], float | None]]]:
    """What was tried: the values of parameters and what they came to, by study."""
    import optuna

    with journal(studies_file(given)) as storage:
        return {
            name: [
                (dict(trial.params), trial.value)
                for trial in optuna.load_study(study_name=name, storage=storage).get_trials()
                if trial.state.name == "COMPLETE"
            ]
            for name in optuna.get_all_study_names(storage)
        }


def test_what_is_better_is_found_and_is_better_on_ratings_that_no_trial_saw(tmp_path: Path) -> None:
    given = settings(tmp_path, tuning__trials=12)
    found, _ = tuned(given)
    ranking, rated = found.standings
    assert ranking.present is not None
    assert rated.present is not None
    assert ranking.best is not None
    assert rated.best is not None
    assert ranking.best > 1.3 * ranking.present
    assert rated.best < 0.95 * rated.present
    test = in_parts(ratings(), given).test
    comparison = compare(TRAINER.fit(test.train, given.train), TRAINER.fit(test.train, found.train), test, given)
    assert (comparison.ndcg.verdict, comparison.rmse.verdict, comparison.better) == ("better", "better", True)
    assert comparison.ndcg.interval.low <= comparison.ndcg.value <= comparison.ndcg.interval.high
    assert comparison.n_train + comparison.n_test == len(ratings())
    changed = {name for names in TUNED.values() for name in names}
    assert found.train.model_dump(exclude=changed) == given.train.model_dump(exclude=changed)


def test_the_present_settings_are_tried_first_and_factors_are_the_same_for_both(tmp_path: Path) -> None:
    given = settings(tmp_path, tuning__trials=6)
    found, told = tuned(given)
    by_study = trials(given)
    assert [(s.name, s.done, s.trials) for s in told] == [
        *(("ranking", done, 4) for done in range(5)),
        *(("ratings", done, 2) for done in range(3)),
    ]
    for standing in found.standings:
        values, value = by_study[standing.study][0]
        assert values == {name: getattr(given.train, name) for name in TUNED[standing.name]}
        assert value == standing.present
    assert found.train.factors in [values["factors"] for values, _ in by_study[found.standings[0].study]]


def test_nothing_better_is_the_present_settings(tmp_path: Path) -> None:
    given = settings(tmp_path, tuning__trials=2)
    assert tuned(given)[0].train == given.train


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    one, same, other = (settings(tmp_path / name, train__seed=seed) for name, seed in (("a", 7), ("b", 7), ("c", 8)))
    found = [tuned(given)[0].train for given in (one, same, other)]
    assert found[0] == found[1]
    assert trials(one) == trials(same)
    assert [t for study in trials(one).values() for t in study] != [
        t for study in trials(other).values() for t in study
    ]


# Going on


@pytest.mark.parametrize("after", [1, 8])
def test_interrupted_it_goes_on_as_it_would_have(tmp_path: Path, after: int) -> None:
    whole, broken = settings(tmp_path / "whole"), settings(tmp_path / "broken")
    tuned(whole)
    left = iter(range(after))

    def interrupt(_: Standing) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    split = in_parts(ratings(), broken).validation
    with pytest.raises(KeyboardInterrupt):
        tune(split, broken, TRAINER, interrupt)
    found, told = tuned(broken)
    assert told[0].earlier == min(after, 6)
    assert trials(broken) == trials(whole)
    assert found.train == tuned(whole)[0].train


def test_killed_it_goes_on(tmp_path: Path) -> None:
    given = settings(tmp_path, tuning__trials=2000)
    command = [sys.executable, "-m", "tests.train.tuning", str(tmp_path), "2000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line == "ranking 9\n":
                    break
        finally:
            process.kill()
    (before,) = trials(given).values()
    assert len(before) >= 9
    few = settings(tmp_path, tuning__trials=round((len(before) + 2) * 3 / 2))
    _, told = tuned(few)
    assert told[0].earlier == told[0].done == len(before)
    ranking = next(study for name, study in trials(given).items() if name.startswith("ranking"))
    assert ranking[: len(before)] == before
    assert len(ranking) == len(before) + 2


def test_more_trials_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    tuned(settings(tmp_path, tuning__trials=6))
    before = trials(settings(tmp_path))
    found, told = tuned(settings(tmp_path, tuning__trials=9))
    assert (told[0].earlier, found.standings[0].done) == (4, 6)
    after = trials(settings(tmp_path))
    assert all(after[name][: len(study)] == study for name, study in before.items())
    again, told = tuned(settings(tmp_path, tuning__trials=9))
    assert again.train == found.train
    assert [s.done for s in told] == [6, 3], "nothing is tried"


def test_other_ratings_and_other_fixed_settings_are_other_studies(tmp_path: Path) -> None:
    few = {"tuning__trials": 2}
    first, told = tuned(settings(tmp_path, **few))
    assert (told[0].earlier, told[0].others) == (0, 0)
    data = ratings()
    stars = data.rating.copy()
    stars[0] = 5.5 - stars[0]
    changed = replace(data, rating=stars)
    names = {first.standings[0].study}
    for given, its in (
        (settings(tmp_path, **few), changed),
        (settings(tmp_path, **few), data.where(np.arange(len(data)) > 0)),
        (settings(tmp_path, train__iterations=2, **few), data),
        (settings(tmp_path, train__relevant_rating=3.5, **few), data),
        (settings(tmp_path, train__test_fraction=0.3, **few), data),
    ):
        found, told = tuned(given, its)
        assert (told[0].earlier, told[0].others) == (0, len(names))
        names.add(found.standings[0].study)
    assert len(names) == 6


def test_other_settings_in_use_are_tried_in_the_same_study(tmp_path: Path) -> None:
    first, _ = tuned(settings(tmp_path, tuning__trials=6))
    given = settings(tmp_path, tuning__trials=6, train__alpha=40, train__warm_start=True, train__local_ratings=9)
    found, told = tuned(given)
    assert found.standings[0].study == first.standings[0].study
    assert (told[0].earlier, told[0].present, found.standings[0].done) == (4, None, 5)
    assert trials(given)[found.standings[0].study][4][0]["alpha"] == 40, (
        "beyond what is searched, and tried all the same"
    )


# What trials see


def test_no_trial_depends_on_the_test_part(tmp_path: Path) -> None:
    one, other = settings(tmp_path / "one"), settings(tmp_path / "other")
    data = ratings()
    test = in_parts(data, one).test.test
    held = set(zip(test.user.tolist(), test.title.tolist(), strict=True))
    in_test = np.array([pair in held for pair in zip(data.user.tolist(), data.title.tolist(), strict=True)])
    assert 0.1 < in_test.mean() < 0.3
    upside_down = replace(data, rating=np.where(in_test, 5.5 - data.rating, data.rating).astype(np.float32))
    found, changed = tuned(one, data)[0], tuned(other, upside_down)[0]
    assert trials(one) == trials(other)
    assert found.train == changed.train
    assert not np.array_equal(in_parts(upside_down, one).test.test.rating, test.rating)


@pytest.mark.parametrize("profiles", [None, Profiles(likes(120), likes(60))], ids=["no traits", "traits"])
def test_neither_model_sees_the_other_ones_parameters(tmp_path: Path, profiles: Profiles | None) -> None:
    given = settings(tmp_path, train__neutral_rating=2, train__regularization=0.15).train
    trainer, data = replace(TRAINER, profiles=profiles), ratings()
    both, rank, rate = (t.fit(data, given) for t in (trainer, trainer.only("implicit"), trainer.only("explicit")))
    np.testing.assert_array_equal(rank.ranking_factors.users, both.ranking_factors.users)
    np.testing.assert_array_equal(rank.ranking_factors.titles, both.ranking_factors.titles)
    np.testing.assert_array_equal(rate.predict(data.user, data.title), both.predict(data.user, data.title))
    assert not rank.rating_factors.users.any()
    assert not rate.ranking_factors.users.any()
    others = trainer.fit(data, given.model_copy(update={"regularization": 0.9, "damping": 1.0}))
    np.testing.assert_array_equal(others.ranking_factors.users, both.ranking_factors.users)
    others = trainer.fit(data, given.model_copy(update={"alpha": 9.0, "neutral_rating": 3.0}))
    np.testing.assert_array_equal(others.predict(data.user, data.title), both.predict(data.user, data.title))


def test_where_nobody_rates_the_ranking_alone_is_asked_for(tmp_path: Path) -> None:
    data = ratings()
    done = replace(data, source=np.full(len(data), SOURCES.index("implicit"), np.int8))
    given = settings(tmp_path, train__neutral_rating=2.5, tuning__trials=4)
    found, _ = tuned(given, done)
    assert [(s.name, s.done) for s in found.standings] == [("ranking", 4)]
    test = in_parts(done, given).test
    comparison = compare(TRAINER.fit(test.train, given.train), TRAINER.fit(test.train, found.train), test, given)
    assert comparison.rmse.verdict == "no clear difference"
    assert comparison.better == (comparison.ndcg.verdict == "better")
    # What is to be found depends on the settings in use, and so trials of others are of another study.
    _, told = tuned(settings(tmp_path, train__neutral_rating=4.0, tuning__trials=4), done)
    assert (told[0].earlier, told[0].others) == (0, 1)


def test_other_traits_are_another_study(tmp_path: Path) -> None:
    given = settings(tmp_path, tuning__trials=2)
    split = in_parts(ratings(), given).validation
    names = {
        tune(split, given, replace(TRAINER, profiles=profiles)).standings[0].study
        for profiles in (None, Profiles(likes(120), likes(60)), Profiles(without_traits(120), likes(60)))
    }
    assert len(names) == 3


# Limits


@pytest.mark.parametrize(
    ("tuning", "limits"),
    [
        ({}, Limits(27, 13, None)),
        ({"trials": 2}, Limits(1, 1, None)),
        ({"trials": 100}, Limits(67, 33, None)),
        ({"minutes": 3}, Limits(None, None, 180.0)),
        ({"trials": 9, "minutes": 0.5}, Limits(6, 3, 30.0)),
    ],
    ids=str,
)
def test_limits(tuning: dict[str, float], limits: Limits) -> None:
    assert Limits.of(TuningSettings.model_validate(tuning)) == limits


def test_when_time_is_over_no_trial_begins_but_the_first(tmp_path: Path) -> None:
    found, _ = tuned(settings(tmp_path, tuning__minutes=1e-6, tuning__trials=50))
    assert [s.done for s in found.standings] == [1, 1]


def test_time_is_shared(tmp_path: Path) -> None:
    data = ratings(20, 20)
    given = settings(tmp_path).model_copy(update={"tuning": TuningSettings(minutes=1 / 15, max_factors=4)})
    found, told = tuned(given, data)
    assert all(s.trials is None for s in told)
    assert min(s.done for s in found.standings) > 1
