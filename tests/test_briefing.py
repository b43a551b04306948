"""What the model of a part is told: the whole, the results it needs, and apart its own."""

from __future__ import annotations

from dataclasses import replace

from tale.tasks.briefing import briefing
from tale.tasks.task import Subtask


def part(identity: str, *needs: str, **more: object) -> Subtask:
    return replace(Subtask(identity, identity.upper(), "do", needs), **more)  # pyright: ignore[reportArgumentType]


def test_long_results_are_handed_on_shortened() -> None:
    done = part("a", state="done", answer="x" * 9999, files=("one.py",))
    told = briefing("the whole", part("b", "a"), {"a": done})
    assert told.context.startswith("Others do the rest")
    assert "the whole" in told.context
    assert "Files: one.py" in told.context
    assert len(told.context) < 2000


def test_a_parts_own_text_has_nothing_of_the_whole_or_of_others_results() -> None:
    done = part("a", state="done", answer="It gives f(1) == 2.")
    told = briefing("Write f, for which f(2) == 4", part("b", "a"), {"a": done})
    assert told.text == "do"
    assert "f(2) == 4" in told.context
    assert "f(1) == 2" in told.context


def test_a_part_is_told_which_files_are_its_own_and_how_it_is_checked() -> None:
    one = part("a", text="Write it", writes=("a.py", "b.py"), reads=("c.py",), check="try a.py")
    first, *_, last = briefing("the whole", one, {"a": one}).text.split("\n\n")
    assert first == "Write it"
    assert last == "It is done when this succeeds: try a.py"
    assert "Write a.py and b.py, and no other file." in briefing("the whole", one, {"a": one}).text


def test_what_is_in_files_is_not_told_again_with_the_result() -> None:
    code = "Here it is.\n```python\nx = 1\n```\nThat is all."
    done = part("a", state="done", answer=code, files=("a.py",))
    said = replace(done, files=())
    told = briefing("the whole", part("b", "a"), {"a": done}).context
    assert "x = 1" not in told
    assert "That is all." in told
    assert "x = 1" in briefing("the whole", part("b", "a"), {"a": said}).context
