"""What goes in and out of the REST API, as OpenAPI shows it."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Header
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic_core import PydanticCustomError

from nextreel.events.contract import (
    ENTRIES_MAX,
    ENTRY_CHARACTERS_MAX,
    ID_CHARACTERS_MAX,
    MATURITY,
    RATING_MAX,
    RATING_MIN,
    TEXT_CHARACTERS_MAX,
    Verb,
    list_fault,
    text_fault,
)
from nextreel.events.contract import Reason as QuarantineReason
from nextreel.serve.choices import Choice
from nextreel.serve.live import Asked as Wish


def _utf8(value: str) -> str:
    """Refuse half a surrogate pair, which JSON can write and UTF-8 cannot."""
    value.encode()
    return value


def _refuse(fault: tuple[QuarantineReason, str] | None) -> None:
    """Answer 422 with the reason and the detail that quarantine has for the same value."""
    if fault is not None:
        reason, detail = fault
        raise PydanticCustomError(reason.replace(" ", "_"), "{text}", {"text": f"{reason}: {detail}"})


def _at_most(max_characters: int) -> AfterValidator:
    def check(value: str) -> str:
        _refuse(text_fault("text", value, max_characters))
        return value

    return AfterValidator(check)


def _few(value: list[str]) -> list[str]:
    _refuse(list_fault("list", value, ENTRIES_MAX))
    return value


def _length(max_characters: int) -> Any:
    """Return what OpenAPI shows of a text's bounds; `_at_most` checks them."""
    return Field(min_length=1, json_schema_extra={"maxLength": max_characters, "pattern": r"^[^\u0000]*$"})


_BEGINS_AS_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _text_alone(value: object) -> object:
    """Refuse what would be read as seconds since 1970, texts of digits included."""
    if value is not None and not (isinstance(value, str) and _BEGINS_AS_DATE.match(value)):
        raise ValueError("must be a date and a time as text, such as 2026-01-31T12:00:00Z")
    return value


def _number_alone(value: object) -> object:
    """Refuse texts and truth values that would be read as numbers: parameters are texts, bodies need none."""
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


def _age_rating(value: str) -> str:
    if value not in MATURITY:
        raise ValueError(f"must be one of {', '.join(MATURITY)}")
    return value


#: The longest page, and the last place of a list that can be asked for.
MOST_COUNT, MOST_OFFSET = 100, 900
MOST_TITLES = 100

Id = Annotated[str, _length(ID_CHARACTERS_MAX), AfterValidator(_utf8), _at_most(ID_CHARACTERS_MAX)]
Text = Annotated[str, _length(TEXT_CHARACTERS_MAX), AfterValidator(_utf8), _at_most(TEXT_CHARACTERS_MAX)]
Entry = Annotated[str, _length(ENTRY_CHARACTERS_MAX), AfterValidator(_utf8), _at_most(ENTRY_CHARACTERS_MAX)]
Texts = Annotated[list[Entry], Field(json_schema_extra={"maxItems": ENTRIES_MAX}), AfterValidator(_few)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[ -~]+$",
        description="a name for this event that the client chooses, printable ASCII: with the same key and user a "
        "repeated request has the same event id, and counts once; unused if the body has an id",
    ),
]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT, description="titles on a page")]
Offset = Annotated[int, Field(ge=0, le=MOST_OFFSET, description="titles to leave out at the top")]
_Number = BeforeValidator(_number_alone)
Stars = Annotated[float, _Number, Field(ge=RATING_MIN, le=RATING_MAX, description="a rating in stars")]
Diversity = Annotated[
    float, Field(ge=0.0, le=1.0, description="how much titles are to differ: 0 for the best ones, however alike")
]
AgeRating = Annotated[str, AfterValidator(_age_rating), Field(json_schema_extra={"enum": list(MATURITY)})]
Moment = Annotated[datetime, BeforeValidator(_text_alone)]
YesNo = Annotated[bool, Strict()]
Kind = Literal["movie", "series"]
Strategy = Literal["personal", "preferences", "popular"]


class Page(BaseModel):
    """The parameters of a list: its page, and which titles may be on it. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: Count = 10
    offset: Offset = 0
    type: Kind | None = None
    genre: Annotated[list[Entry], Field(max_length=20, description="any of them")] = []
    age_rating: Annotated[AgeRating | None, Field(description="at most as mature as this")] = None

    def choice(self) -> Choice:
        """Return which titles may be on the list."""
        return Choice(self.type, frozenset(self.genre), self.age_rating)

    def asked(self, rows: Callable[[Sequence[str]], frozenset[int]]) -> Wish:
        """Return what is asked for; ``rows`` gives those of the ids that are known."""
        return Wish(self.count, self.offset, self.choice())


class ForSomebody(Page):
    """The parameters of a list for somebody, who has seen some titles."""

    exclude: Annotated[list[Id], Field(max_length=MOST_TITLES, description="titles to leave out")] = []
    include_seen: Annotated[bool, Field(description="titles that were rated or watched, too")] = False

    def asked(self, rows: Callable[[Sequence[str]], frozenset[int]]) -> Wish:
        """Return what is asked for; ``rows`` gives those of the ids that are known."""
        return Wish(self.count, self.offset, self.choice(), rows(self.exclude), self.include_seen)


class ForUser(ForSomebody):
    """The parameters of a user's recommendations."""

    diversity: Diversity = 0.0
    explain: Annotated[bool, Field(description="say why, title by title")] = False

    def asked(self, rows: Callable[[Sequence[str]], frozenset[int]]) -> Wish:
        """Return what is asked for; ``rows`` gives those of the ids that are known."""
        return Wish(
            self.count, self.offset, self.choice(), rows(self.exclude), self.include_seen, diversity=self.diversity
        )


class ForAll(ForSomebody):
    """The parameters of a list that is the same for everybody."""

    user_id: Annotated[Id | None, Field(description="leave out what this user has seen")] = None


class Answer(BaseModel):
    """What is sent."""

    model_config = ConfigDict(extra="forbid")


class Asked(BaseModel):
    """What is received: unknown fields are refused, so that a mistyped one is noticed."""

    model_config = ConfigDict(extra="forbid")


class TitleCard(Answer):
    """What there is to tell of a title; what is not known is null."""

    content_id: str
    type: Kind | None
    title: str | None
    genres: list[str]
    directors: list[str]
    actors: list[str]
    decade: str | None
    age_rating: str | None
    seasons: str | None
    episodes: str | None


class BecauseOf(Answer):
    """A title that the user rated or watched, and its share of the score."""

    content_id: str
    title: str | None
    share: float


class Preference(Answer):
    """A declared preference that the title meets, and its share of how well it fits."""

    trait: Literal["genres", "directors", "actors", "decades", "age_rating"]
    value: str
    share: float


class Reason(Answer):
    """Why: shares of titles, of what was declared or is usual (``preferences_share``), and of the rest add up to 1."""

    because_of: list[BecauseOf]
    preferences: list[Preference]
    preferences_share: float
    rest: float


class Recommended(TitleCard):
    """A title in its place: the rating that is predicted, the score that it is ordered by, and why it is there."""

    rank: int
    predicted_rating: Annotated[float, Field(description="in stars, 0.5 to 5")]
    score: float
    reason: Reason | None = None


class Recommendations(Answer):
    """A page of a list: what it comes from, which model made it, and its titles."""

    model: Annotated[str, Field(description="the model version")]
    strategy: Annotated[
        Strategy,
        Field(description="from ratings (and preferences), from declared preferences alone, or what is popular"),
    ]
    known: Annotated[bool, Field(description="whether anything is known of who asks")]
    offset: int
    items: list[Recommended]


class Similar(TitleCard):
    """A title like another one: the cosine of the two titles' factors, 1 for the same direction."""

    rank: int
    similarity: float


class SimilarTitles(Answer):
    """Titles like another one, the most alike first."""

    model: str
    content_id: str
    offset: int
    items: list[Similar]


class Titles(Answer):
    """Titles found, the most popular first."""

    items: list[TitleCard]


class Deed(Answer):
    """A title that a user rated or did something with; ``rated`` tells which."""

    content_id: str
    title: str | None
    type: Kind | None
    rating: Annotated[float, Field(description="in stars: given, or what the deed stands for")]
    rated: bool
    at: datetime | None


class History(Answer):
    """What a user rated and did, the newest first."""

    user_id: str
    known: bool
    total: int
    offset: int
    items: list[Deed]


class Explanation(Answer):
    """Why a title would be recommended to a user."""

    model: str
    user_id: str
    content_id: str
    strategy: Strategy
    score: float
    predicted_rating: float
    reason: Reason


class Pair(Asked):
    """A user and a title."""

    user_id: Id
    content_id: Id


class Pairs(Asked):
    """Users and titles whose ratings are to be predicted."""

    pairs: Annotated[list[Pair], Field(min_length=1, max_length=1000)]


class Estimate(Answer):
    """The rating that a user is predicted to give to a title; null for a title that nobody knows."""

    user_id: str
    content_id: str
    predicted_rating: float | None


class Estimates(Answer):
    """Predicted ratings, in the order of the pairs."""

    model: str
    items: list[Estimate]


class Liked(Asked):
    """A title and what somebody thinks of it."""

    content_id: Id
    rating: Stars = 4.5


class Preferences(Asked):
    """What somebody likes in general."""

    genres: Texts = []
    directors: Texts = []
    actors: Texts = []
    decades: Texts = []
    age_rating: AgeRating | None = None


class Wanted(Asked):
    """A list for somebody who need not be a user: by titles, by preferences, or for several users together."""

    titles: Annotated[list[Liked], Field(max_length=MOST_TITLES)] = []
    preferences: Preferences | None = None
    users: Annotated[list[Id], Field(max_length=20, description="an evening together")] = []
    count: Annotated[Count, _Number] = 10
    offset: Annotated[Offset, _Number] = 0
    type: Kind | None = None
    genre: Annotated[list[Entry], Field(max_length=20, description="any of them")] = []
    age_rating: AgeRating | None = None
    exclude: Annotated[list[Id], Field(max_length=MOST_TITLES)] = []
    include_seen: YesNo = False
    diversity: Annotated[Diversity, _Number] = 0.0
    explain: YesNo = False


class Interaction(Asked):
    """What a user did. A request that is repeated with the same id, or the same Idempotency-Key, counts once."""

    user_id: Id
    content_id: Id
    event: Verb
    rating: Annotated[Stars | None, Field(description="required where the event is rate")] = None
    percent_watched: Annotated[float, _Number, Field(ge=0, le=100)] | None = None
    device: Text | None = None
    timestamp: Annotated[Moment | None, Field(description="when; by default now")] = None
    id: Id | None = None


class User(Asked):
    """A user, new or changed: the whole of what is declared."""

    user_id: Id
    username: Text | None = None
    genres: Texts = []
    directors: Texts = []
    actors: Texts = []
    decades: Texts = []
    age_rating: AgeRating | None = None
    country: Text | None = None
    age_group: Text | None = None
    subscribed: Annotated[Text | None, Field(description="subscription date")] = None
    timestamp: Moment | None = None


class Title(Asked):
    """A title, new or changed: the whole of it."""

    content_id: Id
    type: Kind
    title: Text
    genres: Texts = []
    directors: Texts = []
    actors: Texts = []
    decade: Text | None = None
    age_rating: AgeRating | None = None
    seasons: Text | None = None
    episodes: Text | None = None
    timestamp: Moment | None = None


class Accepted(Answer):
    """An event that Kafka has."""

    id: str
    topic: str
    partition: int
    offset: int


class Decision(Answer):
    """What was decided about a version, when, and why."""

    at: str
    version: str
    deed: Literal["promoted", "rolled back", "refused"]
    why: str
    before: str | None


class Models(Answer):
    """The versions in the store, the oldest first, and the newest decisions about them.

    `current` is the version that servers are to use, `in_use` the one that this server answers by, and `refused` the
    current one if this server cannot load it.
    """

    current: str | None
    in_use: str | None
    refused: str | None
    versions: list[str]
    decisions: list[Decision]


class Promotion(Asked):
    """The version that is to be current."""

    version: Text


class ModelInfo(Answer):
    """The model that answers, and how far it has followed events."""

    version: str
    created_at: str | None
    users: int
    titles: int
    factors: int
    events_applied: int
    evaluation: dict[str, object] | None


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, object]] | None = None
    event_id: Annotated[str | None, Field(description="of an event that Kafka did not acknowledge")] = None
    may_be_written: Annotated[
        bool | None, Field(description="whether that event may have been written; false: it surely was not")
    ] = None
