"""How much of what is learned from is of titles, or by users, that no event describes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Undescribed:
    """Counts of interactions, those of a user and a title as one: all, and those of undescribed titles or users.

    ``of_titles`` are of ``titles`` that no movie or series event describes: they cannot be recommended. ``by_users``
    are by ``users`` without a user event. Simulated ratings do not count.
    """

    interactions: int
    of_titles: int
    titles: int
    by_users: int
    users: int

    @classmethod
    def recorded(cls, data: Mapping[str, Any]) -> Self | None:
        """Return what a version's model.json records under "data"; None where an older version records nothing."""
        recorded = data.get("undescribed")
        names = cls.__dataclass_fields__
        if not isinstance(recorded, dict) or not all(isinstance(recorded.get(name), int) for name in names):
            return None
        return cls(**{name: recorded[name] for name in names})

    @property
    def is_all(self) -> bool:
        """Whether there are interactions, and all of them are of undescribed titles."""
        return 0 < self.interactions == self.of_titles

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, for model.json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what a person should know of them: a line for titles, one for users; none where all is described."""
        lines = []
        if self.of_titles:
            much = "none" if self.is_all else f"{self.interactions - self.of_titles:,}"
            lines.append(
                f"{much} of {self.interactions:,} interactions {'is' if much == '1' else 'are'} of titles that a movie "
                f"or series event describes; {self.of_titles:,} are of {self.titles:,} other titles, which cannot be "
                "recommended" + (": do the ids of interactions and catalogue match?" if self.is_all else "")
            )
        if self.by_users:
            lines.append(
                f"{self.by_users:,} of {self.interactions:,} interactions are by {self.users:,} users that no user "
                "event describes: their preferences are unknown"
            )
        return lines
