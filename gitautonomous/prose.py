"""What the manual pages say beyond the help of each command and option. `Words like this` are typed as they stand."""

from __future__ import annotations

PROSE = {
    "": """\
A task is a goal in words, with a name. It is a branch, `autonomous/<task>`, with a worktree of its own. A session is one turn of
Codex in which the agent did something, and is closed by one commit. The first session, the initializer, turns the goal into
`.autonomous/<task>/task_list.md`, a list of items; the others, the executors, work it off, one item each. A check is a command that
must pass before work counts as done. The base is the branch that the task started from and merges into.

Your own checkout is not touched. The agent works in Codex's sandbox, the runner commits, and a check runs in the same sandbox. What
a person wants to know about a task is answered from its branch, so pushing the branch hands the task over.""",
    "start": """\
The task starts from the newest commit of the base: uncommitted changes of your checkout are not part of it. Its name is made of the
goal unless `--name` gives one. Files that `.worktreeinclude` names and git ignores are copied into the new worktree, and the
commands of `autonomous.setup` run there.

Sessions follow each other until every item is ticked and the checks pass, until only blocked items are left, until nothing moves any
more, or until a limit is reached. Ctrl-C ends the session that runs; what it did so far becomes a commit, and `git autonomous resume`
goes on.

Without `--check` the initializer proposes checks, which are frozen when its session is closed. `--no-check` does without.""",
    "resume": """\
Goes on with a task wherever it stands: after a stop, a crash, a reboot, or in another clone, where the branch is taken from the
remote that has it. There, what the task would run or what widens the agent's rights is shown and asked once. Options that are given
replace those that the task was started with, except limits, which hold for this command alone.""",
    "list": """\
Works from the main checkout, any folder in it, any worktree, and a bare repository. The states are explained in
git-autonomous(1).

A note says with what a task would conflict: its base, or another task. `conflicts with ?` means that a branch moved since that was
looked at, so nobody knows; `git autonomous status` and `review` of it look again, and each session does when it ends.""",
    "merge": """\
The merge is planned in memory, made in a worktree of its own, and checked there; only then does the base move, in one step. A task
that changes what runs on your machine (hooks, CI files, build scripts and the like) is merged only with `--reviewed`, or after a yes
on a terminal that showed the list.""",
    "pr": """\
Pushes to the remote that git would push the branch to: `branch.<name>.pushRemote`, `remote.pushDefault`, `branch.<name>.remote`, else
origin. The request is for the branch that the task's base follows. Your own pre-push hook runs, in your main checkout. Where
`autonomous.keepTracking` is not set, a commit on top takes `.autonomous/<task>/` out of what is pushed.

`gh` opens it on GitHub, `glab` on GitLab, and on a host whose name does not tell the one that is signed in there. Where neither can, the address
to open is printed. Run it again after more sessions: the branch is pushed again, and the request stays.

A task that is not finished needs `--force` with a reason, and one that changes what runs on a machine `--reviewed`, as in a merge.""",
    "submit": """\
The task is made on the remote alone: its first commit and its lease, in one push. Nothing runs here. Workers take only tasks that were
submitted; one that was merely pushed is private. With `--task` a task that exists is given to the fleet, or given back to it after it
waited for a person. docs/fleet.md has the whole story.""",
    "worker": """\
Takes tasks of the fleet from the remote, one after another or several at a time, and runs each as `git autonomous resume` does. After
each session the branch is pushed in one atomic push with the task's lease, so a worker that lost the lease publishes nothing. Told to stop,
it commits, pushes and hands over; the exit status is 143 or 130 then.

What a task brings along widens nothing: see `autonomous.workerChecks` and `autonomous.workerNetwork`. Full access, a profile and settings of
Codex are never taken from a task.""",
    "fleet": """\
`fleet start` submits those of the workers that `squeue` does not show, one job each. Run it again at any time to fill up what died or reached its time
limit. What comes after `--` goes to sbatch, such as `-- --mem=8G --time=8:00:00`. Five minutes before its time limit a worker is told to
commit, push and hand over.""",
    "config": """\
The first of these that has a setting counts: the command line, the environment (`GIT_AUTONOMOUS_SILENCE_TIMEOUT` for
`silenceTimeout`), git config of the worktree, of the repository, of the user (`autonomous.silenceTimeout`), the file
`.autonomous.toml` in the base commit, the default. The settings are listed in git-autonomous(1).""",
    "init": """\
Only what is committed of the file counts, for tasks that start from that commit. Settings in it that run something or widen what an
agent may do count for each person after that person was shown their exact text and said yes, once.""",
    "doctor": """\
`--repair` mends what a crash, a bad disk or a hand in the wrong place left of the tasks, and says each thing in one line: a lost
worktree, branch or index is made again; what stands in the place of a worktree's `.git` goes to the attic, and git's own comes back;
locks that no process holds go; a damaged journal is kept beside a new one, made of what can be read and of the branch; a task.toml that
cannot be read gets its last good content, by a commit. A task that somebody works on is left alone.""",
    "completion": """\
bash takes the script through git's own completion. It is found by itself where bash-completion is installed, and read in `~/.bashrc`
where it is not. zsh needs its folder in `fpath` before `compinit`. fish finds it by itself; fish 3.6.0 has a fault there and needs
`source ~/.config/fish/completions/git-autonomous.fish` in its start-up file.""",
    "man": """\
`git autonomous --help` and `git help autonomous` open a page only when `man` finds it. Most ways of installing put the pages where it
does; uv does not, and `--install` helps.""",
    "states": "The first that fits is a task's state. It is worked out from branches and locks each time, and stored nowhere.",
    "configuration": """\
Each setting can stand in git config under this name, in the environment, and in `.autonomous.toml` without the `autonomous.`; see
git-autonomous-config(1). Durations are seconds, or like `10m` and `2h30m`. A guarded setting from `.autonomous.toml` counts only after
you were shown its exact text and said yes, once.""",
    "exit status": "As in git-autonomous(1): 0 done, 1 failure, 2 usage, 3 needs a person, 4 a bug, 130 and 143 interrupted.",
}

STATES = (
    ("broken", "task.toml cannot be read."),
    ("running", "A runner works on it on this machine, or Codex goes on without its runner (`resume` takes it over)."),
    ("waiting", "A runner waits for a usage limit's reset or before it tries again, and says until when."),
    ("merged", "Its work is in the base."),
    ("finished", "All items are ticked and the checks pass."),
    ("failing", "All items are ticked and a check fails."),
    ("blocked", "Only blocked or skipped items are left."),
    ("stalled", "Several sessions in a row brought nothing."),
    ("failed", "Codex could not go on: the reason is shown."),
    ("new", "There is no list yet."),
    ("paused", "Items are left and nobody is at work."),
)

FILES = (
    (".autonomous/<task>/", "On the branch: task.toml (goal and options), task_list.md and progress.md."),
    (".autonomous.toml", "Settings for everybody who works on the repository."),
    (".worktreeinclude", "Ignored files that a new worktree needs, in the form of .gitignore."),
    ("<git dir>/autonomous/", "Local and never pushed: locks, journal, Codex's transcripts. Losing it loses no work."),
    (
        "refs/autonomous/backup/, refs/autonomous/merged/",
        "What was removed, replaced or merged; `restore` brings it back.",
    ),
    ("~/.local/state/git-autonomous/approvals.json", "What you allowed, by repository and exact text."),
)

EXIT_STATUS = (
    (
        "0",
        "What was asked is done; for start and resume: the task is finished, or the sessions that were asked for ran.",
    ),
    ("1", "An expected failure."),
    ("2", "The command line or a setting is wrong."),
    ("3", "A person is needed: the task is stalled or blocked, a budget is spent, a check fails, something conflicts."),
    ("4", "A fault of git autonomous itself."),
    ("130, 143", "Interrupted, by Ctrl-C or by a request to end."),
)
