"""`python -m spy_plugin.cli`."""

import sys

from spy_plugin.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
