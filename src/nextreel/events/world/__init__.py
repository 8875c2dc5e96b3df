"""The synthetic world: a believable streaming service, deterministic for a seed."""

from nextreel.events.world.config import WorldConfig
from nextreel.events.world.world import World

__all__ = ["World", "WorldConfig"]
