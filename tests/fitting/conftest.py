"""Tests of this folder find the small pictures beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
