"""The command line: ``nextreel COMMAND``."""

from nextreel.cli.main import main

__all__ = ["main"]
