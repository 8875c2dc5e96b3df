"""``python -m nextreel``, and the command ``nextreel``."""

import signal
import sys


def main() -> None:
    """Run a command; an interrupt that comes before it can take one ends quietly, too."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from nextreel.cli import main as command

        command(prog_name="nextreel")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
