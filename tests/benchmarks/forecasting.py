"""Forecast the conflicts of a repository's tasks, with the imports done before the clock starts.

    python -m tests.benchmarks.forecasting REPOSITORY

prints a JSON object: the seconds that it took, and the pairs of commits that git has to merge for it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from gitautonomous import conflicts, forecast
from gitautonomous.forecast import Tip
from gitautonomous.git import Repository
from gitautonomous.objects import Objects


def main() -> None:
    repository = Repository.discover(Path(sys.argv[1]))
    objects = Objects(repository.common_dir)
    began = time.perf_counter()
    forecast.refresh(repository, objects, "autonomous/")
    took = time.perf_counter() - began
    looked_at, _ = conflicts.read(str(repository.common_dir))
    tips = {
        name: Tip(name, tip, base, base_tip, objects.merge_base(tip, base_tip) or "")
        for name, (tip, base, base_tip) in looked_at.items()
    }
    pairs = [(tip.base_tip, tip.tip) for tip in tips.values() if tip.fork != tip.base_tip]
    for first, second in forecast.overlapping(forecast.touched_by(repository, list(tips.values()))):
        pairs.append((tips[first].tip, tips[second].tip))
    print(json.dumps({"seconds": took, "pairs": pairs}))


if __name__ == "__main__":
    main()
