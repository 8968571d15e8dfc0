"""git autonomous: a long task over many Codex sessions, one branch a task, one commit a session."""

__version__ = "0.1.0"
