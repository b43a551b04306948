"""A large request: planned, approved, worked on in parallel, killed in the middle, gone on with."""

from __future__ import annotations

import re
import time
from pathlib import Path

from demos.daemon import Tale, until
from demos.story import Story
from demos.terminal import Terminal
from tale.cli.render import plural

__all__ = ["run"]

_WORK = "Build a complete web application with user authentication, database, and API"


def run() -> int:
    """Tell it; gives the exit status."""
    story = Story("tasks", "A large request, and a power cut")
    with Tale.fresh() as tale:
        chat = tale.terminal("chat", lines=40)
        try:
            task = _until_the_cut(story, tale, chat)
            _after_it(story, tale, chat, task)
        finally:
            chat.close()
        _another_day(story, tale)
    return story.end()


def _until_the_cut(story: Story, tale: Tale, chat: Terminal) -> str:
    story.step("The plan")
    chat.wait(r"(?m)^> ", 180, what="the prompt")
    chat.enter(_WORK)
    task = until(tale.newest_task, 30, "a task")
    begun = time.monotonic()
    question = until(lambda: tale.question(task), 900, "a plan")
    story.say(f"Planned in {time.monotonic() - begun:.0f} s. tale asks: {question}")
    chat.settle()
    story.screen(chat, "The plan waits for a yes")
    parts = re.search(r"(\d+) parts", question)
    story.claim("The plan has parts", parts and int(parts[1]) > 1, parts[0] if parts else "")

    story.step("Side by side")
    chat.enter("/approve")
    until(lambda: len(_running(tale, task)) > 1 or tale.ended(task), 1800, "two parts at once")
    at_once = _running(tale, task)
    story.claim("Parts are worked on at once", len(at_once) > 1, " and ".join(at_once))
    time.sleep(20)
    story.screen(chat, "Progress in the chat")
    with tale.dashboard() as dashboard:
        story.screen(dashboard, "The dashboard while it works")
    return task


def _after_it(story: Story, tale: Tale, chat: Terminal, task: str) -> None:
    story.step("The power cut")
    before = _took(tale, task)
    cut = tale.kill()
    story.say(f"kill -9 of all {cut} processes, the supervisor among them.")
    chat.wait("gone", 60, what="the chat's word of it")
    begun = time.monotonic()
    story.output("tale serve --detach", tale.says("serve", "--detach"))
    until(lambda: _running(tale, task) or tale.ended(task), 300, "the task at work again")
    story.claim("It goes on by itself", held=True, found=f"after {time.monotonic() - begun:.0f} s")
    chat.wait("back", 60, what="the chat's word that it is back")
    chat.settle()
    story.screen(chat, "The chat after the power cut")

    story.step("The end")
    until(lambda: tale.ended(task), 3600, "the end")
    shown = tale.task(task)
    story.output(f"tale show {task}", tale.says("show", task))
    story.claim("The task is done", shown.text("state") == "done")
    after = _took(tale, task)
    story.claim(
        "Nothing that was done before the cut was done again",
        all(after.get(part) == took for part, took in before.items()),
        plural(len(before), "part") + " done by then",
    )
    story.output(f"tale checkpoints {task}", tale.says("checkpoints", task))
    with tale.dashboard() as dashboard:
        story.screen(dashboard, "Its checkpoints in the dashboard")
    files = sorted(path.name for path in Path(shown.text("workspace")).iterdir())
    story.say(f"What lies in its folder: {', '.join(files)}.")


def _another_day(story: Story, tale: Tale) -> None:
    story.step("Another conversation")
    question = "What did you build for me?"
    chat = tale.terminal("chat")
    try:
        chat.wait(r"(?m)^> ", 60, what="the prompt")
        chat.enter(question)
        chat.wait(lambda text: len(text.rpartition(question)[2].strip()) > 20, 60)
        chat.settle(2)
        story.screen(chat, "It remembers")
        said = chat.text.rpartition(question)[2]
        story.claim("It knows of the other one", re.search(r"(?i)web|app|api", said))
    finally:
        chat.close()


def _running(tale: Tale, task: str) -> list[str]:
    parts = tale.parts(task)
    return [part.text("title") for part in parts if part.text("state") == "running"]


def _took(tale: Tale, task: str) -> dict[str, float | None]:
    """Give the seconds that each finished part took, by id."""
    done = [part for part in tale.parts(task) if part.text("state") == "done"]
    return {part.text("id"): part.number("elapsed") for part in done}
