"""Benchmarks: what things cost, each against something that was measured in the same run.

    python -m tests.benchmarks [--short] [--only NAME ...] [--json]

from the repository's root, in an environment that has the project's test dependencies. The table goes to stdout, progress to stderr.
`--short` takes smaller sizes and fewer rounds, and less than a minute and a half; what costs the same at any size weighs more in it, so
a budget counts as missed only when a whole run on a quiet machine says so. `--only` measures one group (repeatable); `-h` names them.
Trust the ratios, not the seconds. Exit status: 0 when every budget was kept, 1 when one was missed or could not be measured.

The budgets are one table, in `budgets`. Sessions are played by a stand-in for Codex whose own time does not count (`standin`),
except in the row of the real Codex. Memory is read from /proc, so that group needs Linux. Nothing is left behind; the work happens
below $GIT_AUTONOMOUS_TEST_DIR, else below ~/.cache.
"""
