"""``python -m nextreel.cli``."""

import sys

from nextreel.cli import main

if __name__ == "__main__":
    sys.exit(main())
