"""git autonomous: a long task over many Codex sessions, one branch a task, one commit a session.

One word per concept, in code, help and documents:

* task: a goal in words, with a name; its branch is `autonomous/<task>`
* session: one turn of Codex in which the agent did something; closed by one commit, always
* attempt: one start of Codex; one that ends before the agent did anything is no session and leaves no commit
* item: one checkbox of task_list.md
* initializer, executor: the two roles of a session: the first writes the list, the others work it off
* runner: the process that supervises a task's sessions
* check: a command that must pass before work counts as done
* base: the branch that the task started from and merges into
* thread: Codex's conversation, by its id
* outcome: how a session ended: completed, failed, interrupted, timed-out

The modules, by layers. A module imports only from its own layer and from those below it (tests/test_structure.py
    holds this table):

commands (parse, one call into the layers below, render): cli, __main__, commands, overview, manual, completion,
    reference, prose
fleet (tasks on several machines): slurm, fleet, worker
hooks (what git calls, and how it is answered): reactions, by_hand, calling, hooks
decisions (what people do with tasks, the morning after): importing, merge, resolve, sync, review, report,
    page, hunks, markup, decisions, removal, many, live, attach, layers, pull_request, repair
tasks (start, resume, status: the use cases of a running task): starting, tasks
sessions (the runner, and how a session becomes one commit): runner, waiting, closing, checks, notify, account, forecast,
    backup, demo, doctor, workspace, detach, stopping, guard, journal, ready, activity
engine (Codex: found, called, followed, understood, shown): supervision, rollout, codex, ends, prompt, screen,
    transcript, events, scripted
git (repositories, trees and merges): lease, base_settings, origins, absorbed, replay, moving, hazards, patch, pager, threeway, trees, git,
    objects, nested, filters, listing, summaries, outside, conflicts, cached,
    quick_git
values (pure: values in, values out): tracking, listform, checklist, markdown, model, runs,
    toml, config, resources
ground: show, process, signals, hostile, locks, states, trusted, errors
"""

__version__ = "0.1.0"
