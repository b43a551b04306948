"""Two models at once: talk on the small one, work on the large one, both resident throughout."""

from __future__ import annotations

import re
import time
from typing import Any

import psutil

from demos.daemon import Tale, until
from demos.story import Story
from demos.terminal import Terminal

__all__ = ["run"]

_WORK = "Write a complex Python web scraper"
_MIB = 1 << 20


def run() -> int:
    """Tell it; gives the exit status."""
    story = Story("dual", "Two models at once")
    with Tale.fresh() as tale:
        chat = tale.terminal("chat")
        try:
            _tell(story, tale, chat)
        finally:
            chat.close()
    return story.end()


def _tell(story: Story, tale: Tale, chat: Terminal) -> None:
    story.step("From nothing to a conversation")
    took = chat.wait(r"(?m)^> ", 180, what="the prompt")
    story.say(f"`tale chat`, with nothing running: the prompt is there after {took:.1f} s.")
    until(lambda: len(_models(tale)) == 2, 120, "both models")  # one talks while the other loads
    before = _models(tale)
    story.claim("Both models are ready", set(before) == {"ux", "task"})

    story.step("Talk goes to the small model")
    first, whole = _ask(chat, "Hello! What can you do?")
    story.say(f"First words after {first:.2f} s, the whole answer after {whole:.1f} s.")
    story.screen(chat, "A greeting")
    story.claim("The small model answered", _requests(tale, "ux"))
    story.claim("The first words came within a second", first < 1.0, f"{first:.2f} s")

    story.step("Work goes to the large one")
    story.output(f'tale route "{_WORK}"', tale.says("route", _WORK))
    asked = time.monotonic()
    chat.enter(_WORK)
    task = until(tale.newest_task, 30, "a task")
    story.say(f"It is handed over as task `{task}` after {time.monotonic() - asked:.1f} s.")
    until(lambda: tale.task(task).text("state") == "running", 60, "the large model at work")
    story.screen(chat, "Work is handed over")
    first, _ = _ask(chat, "What is a web scraper, in one sentence?")
    story.claim("The chat answers while the large model works", first < 2.0, f"{first:.2f} s")
    story.screen(chat, "Talk goes on")

    story.step("Both are resident")
    with tale.dashboard() as dashboard:
        story.screen(dashboard, "The dashboard")
        story.claim("The dashboard shows both", "1.5b" in dashboard.text)
    _system(story, tale)

    story.step("What comes of the work")
    _to_the_end(tale, chat, task)
    shown = tale.task(task)
    story.output(f"tale show {task}", tale.says("show", task))
    story.claim("The large model did it", shown.text("role") == "task", shown.text("model"))
    story.claim("It is done", shown.text("state") == "done", ", ".join(shown.texts("files")))

    story.step("What switching costs")
    story.output("tale bench", tale.says("bench"))
    after = _models(tale)
    same = {role: one["pid"] for role, one in before.items()} == {
        role: one["pid"] for role, one in after.items()
    }
    story.claim("Neither model was unloaded meanwhile", same, "the same processes as at first")


def _ask(chat: Terminal, question: str) -> tuple[float, float]:
    """Ask, and give the seconds to the first words and to the last."""
    begun = time.monotonic()
    chat.enter(question)

    def answered(text: str) -> object:
        behind = text.rpartition(question)[2]
        return re.search(r"(?m)^(?!>).*[A-Za-z]{2}.*$", behind.partition("\n")[2])

    chat.wait(answered, 60, what="an answer")
    first = time.monotonic() - begun
    chat.settle(1.5)
    return first, time.monotonic() - begun - 1.5


def _requests(tale: Tale, role: str) -> int:
    lines = tale.tells("usage").records("lines")
    return sum(line.integer("requests") for line in lines if line.text("role") == role)


def _models(tale: Tale) -> dict[str, dict[str, Any]]:
    servers = tale.installation.servers()
    return {
        role: servers[f"model-{role}"]
        for role in ("ux", "task")
        if servers.get(f"model-{role}", {}).get("state") == "ready"
    }


def _system(story: Story, tale: Tale) -> None:
    lines = [f"{'PID':>8} {'RSS':>10}  COMMAND"]
    same = True
    for one in _models(tale).values():
        process = psutil.Process(one["pid"])
        seen = process.memory_info().rss
        lines.append(f"{process.pid:>8} {seen / _MIB:>6.0f} MiB  {' '.join(process.cmdline())}")
        same = same and abs(seen - one["rss"]) < 0.1 * seen
    story.output("ps -o pid,rss,args", "\n".join(lines))
    story.claim("The system sees the same memory as tale tells", same)


def _to_the_end(tale: Tale, chat: Terminal, task: str) -> None:
    def ended() -> object:
        if tale.question(task):
            chat.enter("/approve")
            time.sleep(5)
        return tale.ended(task)

    until(ended, 2400, "the end of the task")
