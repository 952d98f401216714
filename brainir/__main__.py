"""The command line: ``python -m brainir``."""

import sys

from .frontend.tools.cli import entry as main

if __name__ == "__main__":
    sys.exit(main())
