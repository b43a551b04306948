"""What is typed in a chat: commands, long pastes, and what stands above the prompt meanwhile."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_daemon import task
from tale.cli.chat_commands import COMMANDS, help_rows, nearest, typed
from tale.cli.pastes import Pastes
from tale.cli.record import Record
from tale.cli.render import Screen, display_width
from tale.cli.task_cards import Card, Cards, card_lines
from tale.cli.views import Eta, Progress, Reply
from tale.cli.why_view import Answered, why_lines

BUILD = "Build a complete web application with users, 数据库 and an API"


class TestCommands:
    def test_every_command_is_found_by_each_of_its_names_and_helped(self) -> None:
        names = [name for one in COMMANDS for name in (one.name, *one.aliases)]
        assert len(names) == len(set(names))
        for one in COMMANDS:
            for name in (one.name, *one.aliases):
                found = typed(f"/{name} t-1 and more")
                assert found
                assert (found.command, found.words) == (one, ("t-1", "and", "more"))
        assert [shown.split()[0] for shown, _ in help_rows()] == [f"/{c.name}" for c in COMMANDS]

    @pytest.mark.parametrize(
        "text", ["hello", "", "/etc/hosts is what?", "/ ", "what is /why", "/Users", "//"]
    )
    def test_what_is_no_command_is_said(self, text: str) -> None:
        assert typed(text) is None

    @pytest.mark.parametrize(
        ("wrong", "meant"), [("/wyh", "why"), ("/aprove", "approve"), ("/ed", "edit")]
    )
    def test_a_wrong_name_suggests_the_near_one(self, wrong: str, meant: str) -> None:
        found = typed(wrong)
        assert found
        assert found.command is None
        suggested = nearest(wrong)
        assert suggested
        assert suggested.name == meant
        assert nearest("/xyzzy") is None


class TestPastes:
    def test_a_long_paste_is_a_word_and_sent_whole(self) -> None:
        pastes = Pastes()
        text = "\n".join(map(str, range(120)))
        sign = pastes.folded(text)
        assert sign == "[pasted 120 lines]"
        assert pastes.whole(f"Sum {sign} up") == f"Sum {text} up"
        assert pastes.folded(text) == sign
        assert pastes.folded(text.replace("1", "2")) == "[pasted 120 lines #2]"
        assert pastes.folded("x" * 5000) == "[pasted 5000 characters]"
        assert pastes.ending(f"Sum {sign}") == len(sign)
        assert pastes.ending("Sum ]") == 0

    def test_a_sign_that_stands_for_nothing_stays(self) -> None:
        assert Pastes().whole("[pasted 120 lines]") == "[pasted 120 lines]"

    @given(st.lists(st.text(max_size=40).map(lambda one: one * 60), max_size=6))
    def test_nothing_is_lost_or_mixed_up(self, texts: list[str]) -> None:
        pastes = Pastes()
        signs = [pastes.folded(text) for text in texts]
        assert [pastes.whole(sign) for sign in signs] == texts


class TestCards:
    def test_a_card_says_how_far_it_is_how_long_it_takes_and_what_is_done(self) -> None:
        progress = Progress("running", 42, eta=Eta(240.0, 120.0, 420.0), doing=("Routes",))
        card = Card("t-1w3k9f05", BUILD, progress)
        [wide] = card_lines([card], 130, color=False)
        assert re.fullmatch(
            r"▸ t-1w3k9f05  Build a complete web applicat…  ━━━━─+   42 %  "
            r"about 4 min \(2-7\)  Routes",
            wide,
        )
        head, far = card_lines([card], 80, color=False)
        assert head == f"▸ t-1w3k9f05  {BUILD}"
        assert far.endswith(" 42 %  about 4 min (2-7)  Routes")

    def test_what_waits_for_its_user_comes_first_with_the_keys_that_answer(self) -> None:
        running = [Card(f"t-{number}", "Work", Progress("running", 5)) for number in range(6)]
        lines = card_lines(
            [*running, Card("t-9", "Plan", asks="May it?", plan=True)], 80, color=False
        )
        assert lines[0] == "? t-9  Plan"
        assert lines[1] == "  May it?  Alt-A approves, Alt-E edits, Alt-R rejects"
        assert lines[-1] == "  … and 3 more: /tasks"

    @given(st.text(max_size=90), st.text(max_size=90), st.integers(40, 160), st.integers(0, 100))
    def test_no_line_is_wider_than_the_terminal(
        self, title: str, asks: str, columns: int, percent: int
    ) -> None:
        progress = Progress("running", percent, eta=Eta(9.0, 2.0, 900.0), doing=(title,))
        for card in (
            Card("t-1w3k9f05", title, progress),
            Card("t-1w3k9f05", title, progress, asks),
        ):
            for line in card_lines([card], columns, color=True):
                assert display_width(line) <= max(columns, 60)

    def test_whoever_watches_is_told_of_every_change(self) -> None:
        cards, told = Cards(), list[int]()
        cards.watch(lambda: told.append(len(cards.all())))
        cards.begin("t-1", "Work")
        cards.progress("t-1", Progress("running", 7))
        cards.asks("t-1", "May it?")
        [card] = cards.all()
        assert (card.title, card.progress.percent, card.asks) == ("Work", 7, "May it?")
        cards.end("t-1")
        cards.begin("t-1", "Heard of twice")
        assert told == [1, 1, 1, 0]
        assert not cards.all()


class TestWhy:
    def test_it_says_who_answered_why_how_fast_and_from_what(self) -> None:
        reply = Reply.read(
            Record(
                {
                    "session": "s-2",
                    "answer": "…",
                    "model": "tiny",
                    "role": "ux",
                    "reason": "talk: short",
                    "usage": {"prompt": 812, "completion": 41, "cached": 790},
                    "recalled": [
                        {"session": "s-1", "seq": 12, "text": "I prefer\ntea", "score": 1.4249}
                    ],
                }
            )
        )
        lines = list(why_lines(Answered(reply, 0.31, 1.31), Screen(width=80)))
        assert lines == [
            "answered by  tiny (ux)",
            "because      talk: short",
            "time         first word after 0.31 s, 41 tokens in 1.3 s (40/s)",
            "sent         812 tokens: 790 from the cache, 22 computed",
            "recalled     1.42  I prefer tea  s-1/12",
        ]

    def test_work_was_answered_by_no_model(self) -> None:
        reply = Reply.read(Record({"task": task()["id"], "reason": "it asks for a program"}))
        lines = list(why_lines(Answered(reply, None, 0.02), Screen(width=80)))
        assert lines == [
            "answered by  no model: it became task t1",
            "because      it asks for a program",
            "time         0.02 s in all",
        ]
