"""``python -m nextreel``, and the command ``nextreel``."""

import sys


def main() -> None:
    """Run a command; an interrupt that comes before it can take one ends quietly, too."""
    try:
        from nextreel.cli import main as command

        command(prog_name="nextreel")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
