"""`.autonomous.toml` is edited as people wrote it, and `init` writes a file in which every line is right."""

from __future__ import annotations

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import config, layers
from gitautonomous.config import SETTINGS, Settings, find
from gitautonomous.errors import UsageError

WRITTEN = """\
# why we wait
delay = 5  # seconds

checks = [
    "npm test",  # quick
]
# the end
"""


def test_an_edit_keeps_comments_and_order() -> None:
    assert layers.with_value(WRITTEN, find("delay"), "10m") == WRITTEN.replace("5  #", '"10m"  #')
    assert layers.with_value(WRITTEN, find("checks"), ["a", "b"]) == (
        '# why we wait\ndelay = 5  # seconds\n\nchecks = ["a", "b"]\n# the end\n'
    )
    assert layers.with_value(WRITTEN, find("model"), "x") == WRITTEN + 'model = "x"\n'
    assert layers.without(WRITTEN, find("delay")) == WRITTEN.replace("delay = 5  # seconds\n", "")


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("", "delay = 1\n"),
        ("# a", "# a\ndelay = 1\n"),
        ("#delay = 3\n", "delay = 1\n"),
        ("# a\r\n# delay = 3\r\n# b\r\n", "# a\r\ndelay = 1\r\n# b\r\n"),
        ("#delay = 3\n#delay = 4", "delay = 1\n#delay = 4"),
        ('model = """\n#delay = 3\n"""\n', 'model = """\n#delay = 3\n"""\ndelay = 1\n'),
        ("delay = 2\n#delay = 3\n", "delay = 1\n#delay = 3\n"),
    ],
)
def test_a_setting_that_is_commented_out_gets_its_value_in_its_place(text: str, edited: str) -> None:
    assert layers.with_value(text, find("delay"), 1) == edited


def test_what_is_not_there_cannot_be_taken_out() -> None:
    with pytest.raises(KeyError):
        layers.without(WRITTEN, find("model"))


def test_a_file_that_is_no_toml_is_left_alone() -> None:
    for text in ("delay = ", "a = " + "[" * 100_000):
        with pytest.raises(UsageError) as error:
            layers.with_value(text, find("delay"), 1)
        assert error.value.message.startswith(".autonomous.toml is not TOML: ")
        assert error.value.hint == config.MEND_TOML


@given(st.text(max_size=60), st.sampled_from(["delay = 2\n", "#delay = 2\n", ""]))
def test_whatever_else_the_file_holds_the_value_is_set_and_the_rest_stays(comment: str, line: str) -> None:
    text = line + "".join(f"# {part}\n" for part in re.split(r"[^ -~]+", comment)) + "model = 'm'\n"
    assert tomllib.loads(layers.with_value(text, find("delay"), 7)) == {"delay": 7, "model": "m"}


def test_values_are_written_as_they_were_typed() -> None:
    typed = [("delay", "10m", "10m"), ("delay", "5", 5), ("delay", "1.5", "1.5"), ("maxBytes", "1g", "1g")]
    typed += [("network", "on", True), ("model", "gpt-6", "gpt-6"), ("model", "", "")]
    for key, text, value in typed:
        assert layers.toml_value(text, find(key).kind.read(text)) == value
    assert layers.toml_value("a\n\nb", find("checks").kind.read("a\n\nb")) == ["a", "b"]


def test_the_file_of_init_changes_nothing_and_names_every_setting() -> None:
    text = layers.commented_file()
    assert tomllib.loads(text) == {}
    uncommented = re.sub(r"^#(?=[a-z])", "", text, flags=re.MULTILINE)
    assert list(tomllib.loads(uncommented)) == [setting.key for setting in SETTINGS]
    assert text.count("(*)\n#") == sum(setting.guarded for setting in SETTINGS)


def test_every_line_of_the_file_of_init_is_right_when_it_is_uncommented() -> None:
    text = re.sub(r"^#(?=[a-z])", "", layers.commented_file(), flags=re.MULTILINE)
    loaded = config.load(
        flags={}, environ={}, git_config=[], base_toml=text.encode(), approved=lambda text: True
    ).settings
    examples = Settings(
        worktree_root="/PATH",
        templates="/PATH",
        codex="/PATH",
        model="NAME",
        profile="NAME",
        setup=("npm ci",),
        checks=("make test",),
        notify="~/bin/tell-me",
    )
    assert loaded == examples
