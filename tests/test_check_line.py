"""Which shell lines can check something, and why others can't."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tale.tasks.check_line import MAX_CHECK, why_not
from tale.tasks.shell_syntax import Unreadable, commands


@pytest.mark.parametrize(
    "line",
    [
        "pytest -q",
        "python -m pytest -q tests/test_login.py",
        "python3 -c 'import app; assert app.add(1, 2) == 3'",
        'python -c "import json; json.load(open(\'data.json\'))" && echo "it\'s $HOME"',
        "test -f README.md && grep -qi install README.md",
        "[ $(wc -l < users.csv) -gt 10 ]",
        "[ -s out.txt ] || { echo empty >&2; exit 1; }",
        "if [ -f a ]; then ! grep TODO a; else exit 1; fi",
        'for one in *.py; do python -m py_compile "$one" || exit 1; done',
        "python app.py & sleep 1; curl -fs localhost:5000; status=$?; kill %1; exit $status",
        "uvicorn app:app --port 8001 >log 2>&1 & sleep 2 && curl -f localhost:8001",
        "timeout 5 python -m http.server 8000 || [ $? -eq 124 ]",
        "echo 'select 1;' | sqlite3 shop.db",
        "sqlite3 shop.db '.tables' | grep -q users",
        "python < script.py",
        "DEBUG=1 env -i PATH=$PATH node test.js",
        "case $(uname) in Linux|Darwin) true;; *) false;; esac",
        "npm test --silent",
        "cargo build 2>&1 | less",
        "bash -c 'set -e; make; make test'",
        "vim --version",
        "# the tests\npytest -q",
        "false",
    ],
)
def test_what_runs_by_itself_and_says_how_it_ended_is_a_check(line: str) -> None:
    assert why_not(line) == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pytest 'tests", "a single quote (') is not closed"),
        ('echo "it', 'a double quote (") is not closed'),
        ("test -f `ls", "a backquote (`) is not closed"),
        ("test $(ls -gt 3", "`$(` is not closed"),
        ("echo ${x", "`${` is not closed"),
        ("pytest -q &&", "nothing follows `&&`"),
        ("pytest |", "nothing follows `|`"),
        ("&& pytest", "`&&` follows no command"),
        ("a ; ; b", "`;` follows no command"),
        ("print(1)", "`(` can't stand there; put it in quotes"),
        ("pytest -q)", "`)` closes nothing"),
        ("(pytest -q", "`(` is not closed by `)`"),
        ("if [ -f a ]; then echo", "`then` is not closed by `fi`"),
        ("if [ -f a ]; fi", "`fi` stands where it can't"),
        ("for i in 1 2; done", "`done` stands where it can't"),
        ("while true; do done", "`done` follows `do` without a command between"),
        ("(a) b", "a `;` or `&&` is missing"),
        ("cat >", "nothing follows `>`"),
        ("echo a\\", "ends with a backslash"),
        ("cat <<EOF\nx\nEOF", "here-document"),
        ("[[ -f a ]]", "only bash has `[[`"),
        ("grep a <<< b", "only bash has `<<<`"),
        ("pytest &> log", "only bash has `&>`"),
        ("source venv/bin/activate && pytest", "only bash has `source`"),
        ('[ "$a" == b ]', "only bash has `==`"),
        ("a\0b", "a character that no text has"),
        ("echo " + "x" * MAX_CHECK, "call a script"),
        ("$(" * 30, "substitutions in each other"),
        ("", "runs no program"),
        ("# run the tests", "runs no program"),
        ("A=1", "runs no program"),
        ("'' x", "a program without a name"),
        ("vim app.py", "`vim` waits for somebody at a keyboard"),
        ("less README.md", "`less` waits"),
        ("python", "`python` waits for somebody who types"),
        ("make && node -i", "`node -i` waits"),
        ("sqlite3 shop.db", "`sqlite3 shop.db` waits"),
        ("sudo pytest", "asks for a password"),
        ("python3 -m http.server 8000", "`python3 -m http.server` does not end by itself"),
        ("/usr/bin/flask run", "`flask run` does not end by itself"),
        ("npm start", "does not end by itself"),
        ("tail -f log", "does not end by itself"),
        ("python app.py &", "in the background"),
        ("(python app.py) &", "in the background"),
        ("bash -c 'npm start'", "does not end by itself"),
        ("sh -c 'if'", "nothing follows `if`"),
        ("Check that the file exists", "it is a sentence"),
        ("The page shows a form", "it is a sentence"),
        ("verify the login", "it is a sentence"),
        ("make sure that it works", "it is a sentence"),
        ("None", "it is a sentence"),
    ],
)
def test_what_can_not_check_anything_is_told_why(line: str, says: str) -> None:
    assert says in why_not(line)


def test_the_programs_of_a_line_are_found_wherever_they_stand() -> None:
    found = commands("A=1 a -x 'b c' <in | d \"$(e f)\" 2>&1 && (g; `h`) & ! i")
    assert [(one.words, one.fed, one.waits) for one in found] == [
        (("a", "-x", "b c"), True, True),
        (("d", "$"), True, True),
        (("g",), True, True),
        (("$",), True, False),
        (("i",), False, True),
        (("e", "f"), False, True),
        (("h",), False, True),
    ]


_PIECES = st.sampled_from(
    [
        *("a", "b -x", "'q r'", '"d $x"', "$(a b)", "`a`", "$((1+2))", "${x:-y}", "x=1", "\\ "),
        *(" | ", " || ", " && ", "; ", " & ", "(", ")", "{ ", "; }", " > f", " 2>&1", " < f"),
        *("if ", "; then ", "; else ", "; fi", "while ", "; do ", "; done", "! ", "f() ", "\n"),
        *("for i in 1 2", "#c", "'", '"'),
    ]
)


@pytest.mark.skipif(shutil.which("dash") is None, reason="bash allows more")
@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, min_size=1, max_size=7).map("".join))
def test_what_the_shell_reads_is_never_refused(line: str) -> None:
    try:
        commands(line)
    except Unreadable as error:
        refused = str(error)
    else:
        return
    # The dashes keep a line that begins with one from being taken for an option.
    read = subprocess.run(
        ["dash", "-n", "-c", "--", line],
        capture_output=True,
        check=False,
    )
    assert read.returncode != 0 or "bash" in refused


_SHORT = st.sampled_from(["a", "b -x", "c=1", "d=2 e", "if", "fi", "!", "{", "./f.py", "7"])


@given(st.lists(_SHORT, min_size=1).map(" && ".join) | st.lists(_SHORT, min_size=1).map(" ".join))
def test_what_is_read_at_once_is_read_as_everything_else(line: str) -> None:
    def read(text: str) -> object:
        try:
            return commands(text)
        except Unreadable as error:
            return str(error)

    assert read(line) == read(f"{line} # that")


@given(st.text())
def test_any_text_is_judged(line: str) -> None:
    assert why_not(line) == why_not(line)
