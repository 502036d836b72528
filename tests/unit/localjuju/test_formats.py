"""Quoting as Go does it, flags as gnuflag does them."""

from typing import Any

import pytest

from localjuju.errors import UsageError
from localjuju.formats import Ordered, natural_key, render
from localjuju.hook_tools.flags import FORMAT_SMART, Help, key_values, option, parse, switch

YAML = [
    ("plain", "plain"),
    ("", '""'),
    ("0042", '"0042"'),
    ("1_000", '"1_000"'),
    ("0x1f", '"0x1f"'),
    ("1:30", '"1:30"'),
    ("10.0.0.1", "10.0.0.1"),
    ("2379/tcp", "2379/tcp"),
    ("true", '"true"'),
    ("Off", '"Off"'),
    ("n", '"n"'),
    ("1e3", "1e3"),
    ("1e+3", '"1e+3"'),
    ("08", "08"),
    ("2031-02-30", "2031-02-30"),
    ("<<", "<<"),
    ("\U0001f600", r'"\U0001F600"'),
    ("a " * 45 + "b", "a " * 40 + "a\n  a a a a b"),
    (1e6, "1e+06"),
    ("null", '"null"'),
    ("2031-02-03", '"2031-02-03"'),
    ("2031-02-03 04:05:06Z", "2031-02-03 04:05:06Z"),
    ("2031-02-03T04:05:06Z", '"2031-02-03T04:05:06Z"'),
    ("- dash", "'- dash'"),
    ("key: value", "'key: value'"),
    ("it's", "it's"),
    ("#hash", "'#hash'"),
    ("a\nb", "|-\n  a\n  b"),
    ("a\nb\n", "|\n  a\n  b"),
    (True, "true"),
    (3, "3"),
    (1.5, "1.5"),
    (2.0, "2"),
    ([], "[]"),
    ({}, "{}"),
    (["a", "b"], "- a\n- b"),
    ({"b": 1, "a10": 2, "a9": 3}, "a9: 3\na10: 2\nb: 1"),
    (Ordered(b=1, a=2), "b: 1\na: 2"),
    ({"list": ["x"]}, "list:\n- x"),
]


@pytest.mark.parametrize(("value", "text"), YAML)
def test_yaml(value: Any, text: str) -> None:
    assert render("yaml", value) == text + "\n"


SMART: list[tuple[Any, str]] = [
    (None, ""),
    ("", ""),
    ([], ""),
    ("text", "text\n"),
    (True, "True\n"),
    (False, "False\n"),
    (7, "7\n"),
    (["a", "b"], "a\nb\n"),
    ({}, "{}\n"),
]


@pytest.mark.parametrize(("value", "text"), SMART)
def test_smart(value: Any, text: str) -> None:
    assert render("smart", value) == text


def test_json_is_gos() -> None:
    assert render("json", {"b": "<&>", "a": [1, 2.0, None]}) == (
        '{"a":[1,2,null],"b":"\\u003c\\u0026\\u003e"}\n'
    )


def test_natural_order() -> None:
    names = ["x/10", "x/2", "w/1"]
    assert sorted(names, key=natural_key) == ["w/1", "x/2", "x/10"]


FLAGS = (option("r", "relation"), switch("a", "all"), *FORMAT_SMART)


@pytest.mark.parametrize(
    "words",
    [
        ["-r", "1", "x"],
        ["x", "-r", "1"],
        ["-r1", "x"],
        ["--relation=1", "x"],
        ["--relation", "1", "--", "x"],
    ],
)
def test_spellings_of_a_flag(words: list[str]) -> None:
    parsed = parse(words, FLAGS)
    assert (parsed.text("relation"), parsed.positional) == ("1", ["x"])


def test_bundled_switch_and_value() -> None:
    parsed = parse(["-ar", "1"], FLAGS)
    assert parsed.has("all")
    assert parsed.text("relation") == "1"


def test_dash_and_everything_after_two() -> None:
    assert parse(["-", "--", "-r"], FLAGS).positional == ["-", "-r"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "option provided but not defined: --nope"),
        (["-r"], "option needs an argument: -r"),
        (["--format", "x"], 'invalid value "x" for option --format: unknown format "x"'),
    ],
)
def test_refusals(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words, FLAGS)
    assert str(error.value) == text


def test_help_is_no_error() -> None:
    with pytest.raises(Help):
        parse(["--help"], FLAGS)


def test_key_values() -> None:
    assert key_values(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(UsageError, match="specified more than once"):
        key_values(["a=1", "a=2"])
