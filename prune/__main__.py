"""`python -m prune`."""

import sys

from prune.cli import main

sys.exit(main())
