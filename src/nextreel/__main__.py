"""``python -m nextreel``, and the command ``nextreel``."""

import io
import signal
import sys


def main() -> None:
    """Run a command; an interrupt that comes before it can take one ends quietly, too."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if sys.platform == "win32":
            signal.signal(signal.SIGBREAK, signal.default_int_handler)  # as `nextreel up` stops what it has started
            for stream in (sys.stdout, sys.stderr):  # in a file or a pipe they would have a code page, without ★
                if isinstance(stream, io.TextIOWrapper):
                    stream.reconfigure(encoding="utf-8")
        from nextreel.cli import main as command

        command(prog_name="nextreel")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
