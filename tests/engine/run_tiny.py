"""Train in a process of its own: ``python run_tiny.py train_toy OUT '{"steps": 8}'`` (fields of ``Options``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import tiny

if __name__ == "__main__":
    getattr(tiny, sys.argv[1])(Path(sys.argv[2]), **json.loads(sys.argv[3]))
