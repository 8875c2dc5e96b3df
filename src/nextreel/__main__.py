"""``python -m nextreel``, and the command ``nextreel``."""

import _thread
import io
import signal
import sys
import threading
from contextlib import suppress

#: After so long Python is done with the object that it was finalising.
_MOMENT = 0.01


def main() -> None:
    """Run a command; an interrupt that comes before it can take one ends quietly, too."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.unraisablehook = _interrupt_again
        if sys.platform == "win32":
            signal.signal(signal.SIGBREAK, signal.default_int_handler)  # as `nextreel up` stops what it has started
            for stream in (sys.stdout, sys.stderr):  # in a file or a pipe they would have a code page, without ★
                if isinstance(stream, io.TextIOWrapper):
                    stream.reconfigure(encoding="utf-8")
        from nextreel.account import set_home
        from nextreel.errors import NextreelError

        try:
            set_home()
        except NextreelError as error:
            sys.exit(f"error: {error}")
        from nextreel.cli import main as command

        command(prog_name="nextreel")
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Send an interrupt again that came while an object was finalised, py4j's for example, where Python drops it."""
    if dropped.exc_type is KeyboardInterrupt:
        again = threading.Timer(_MOMENT, _interrupt_main)
        again.daemon = True  # who has ended meanwhile is not kept
        with suppress(RuntimeError):  # Python is ending
            again.start()
    else:
        sys.__unraisablehook__(dropped)


def _interrupt_main() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(signal.SIGTERM)
    elif (main_thread := threading.main_thread().ident) is not None:  # the signal itself wakes who sleeps or waits
        signal.pthread_kill(main_thread, signal.SIGTERM)


if __name__ == "__main__":
    main()
