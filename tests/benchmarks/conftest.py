"""The GPU benchmark needs torch, which the test environment has not: `make test` runs its test in the training environment."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_gpu.py"]
