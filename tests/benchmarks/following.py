"""Follow a child that writes a transcript as fast as it can, as a runner does, in a process whose memory is then known.

    python -m tests.benchmarks.following SOURCE TRANSCRIPT

prints a JSON object: the seconds that it took, and the memory before and at its peak, in MB.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from gitautonomous.events import Turn
from gitautonomous.screen import Screen
from gitautonomous.supervision import Deadlines, supervise

from .bench import peak_memory


def main() -> None:
    source, transcript = map(Path, sys.argv[1:])
    turn = Turn()
    with open(os.devnull, "w") as sink, Screen(sink, quiet=False) as screen:
        before, began = peak_memory("self"), time.perf_counter()
        supervise(
            ["cat", str(source)],
            env=os.environ,
            prompt=b"",
            transcript=transcript,
            stderr=Path(os.devnull),
            inherit=(),
            deadlines=Deadlines(),
            turn=turn,
            rollout_home=transcript.parent,
            on_event=screen.event,
            on_start=lambda who: None,
            on_tick=screen.tick,
            should_stop=lambda: False,
            offset=0,
        )
        took = time.perf_counter() - began
    assert len(turn.commands) == 1000
    print(json.dumps({"seconds": took, "before": before, "peak": peak_memory("self")}))


if __name__ == "__main__":
    main()
