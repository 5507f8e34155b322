"""``python -m meshdisent`` is the command ``meshdisent``."""

import sys

from meshdisent.cli.main import main

sys.exit(main())
