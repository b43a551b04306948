"""What is asked in a mixed session: small talk, questions, problems to program, texts to sum up.

The talk, questions and texts were written in one go, before anything was measured, as people write
to an assistant in the course of a day; the problems are drawn from HumanEval by the seed, and the
order of all is shuffled by it. None was chosen, changed or left out for its result.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["Problem", "Request", "as_a_user_asks", "humaneval", "mixed_session"]

_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """A row of HumanEval: a function's head and docstring, and a test that knows the answer."""

    task_id: str
    prompt: str
    entry_point: str
    test: str


@dataclass(frozen=True, slots=True)
class Request:
    """One thing a user says; `facts` are words of which a summary of it has some, lower case."""

    kind: Literal["talk", "question", "problem", "summary"]
    text: str
    problem: Problem | None = None
    facts: tuple[str, ...] = ()

    def summed_up(self, answer: str) -> bool:
        """Tell whether an answer is shorter than the text and has half of its facts or more."""
        told = sum(fact in answer.lower() for fact in self.facts)
        return len(answer) < len(self.text) and 2 * told >= len(self.facts)


def humaneval() -> list[Problem]:
    """Read the problems from `TALE_BENCH_DATA` or ../shared/data; none where there is no file."""
    folder = os.environ.get("TALE_BENCH_DATA", "../shared/data")
    path = Path(folder) / "coding" / "humaneval.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    fields = ("task_id", "prompt", "entry_point", "test")
    return [Problem(*(row[field] for field in fields)) for row in rows]


def mixed_session(problems: list[Problem], seed: int) -> list[Request]:
    """Draw the problems and shuffle everything: 12 of talk, 10 questions, 10 problems, 8 texts."""
    dice = random.Random(seed)
    drawn = dice.sample(problems, _PROBLEMS)
    requests = [
        *(Request("talk", text) for text in _TALK),
        *(Request("question", text) for text in _QUESTIONS),
        *(Request("problem", as_a_user_asks(problem), problem) for problem in drawn),
        *(
            Request("summary", f"{order}\n\n{text}", facts=tuple(facts.split()))
            for order, text, facts in _TEXTS
        ),
    ]
    dice.shuffle(requests)
    return requests


def as_a_user_asks(problem: Problem) -> str:
    """Word a problem as a request."""
    return f"Write this Python function:\n\n{problem.prompt.strip()}"


_TALK: Final = (
    "Good morning! How are you today?",
    "I slept badly, the neighbours had a party until three.",
    "haha yes, that's true",
    "Tell me a joke.",
    "We're going to the seaside on Saturday, the kids can't wait.",
    "thanks, that helps",
    "My coffee machine broke this morning, so be patient with me.",
    "What can you do for me?",
    "I think I'll call it a day soon.",
    "It has been raining here since Monday.",
    "you're quick today",
    "ok, good. see you later!",
)
_QUESTIONS: Final = (
    "What is a hash table?",
    "Why is the sky blue?",
    "How do I undo the last commit in git but keep the changes?",
    "What's the difference between a process and a thread?",
    "How long do I boil an egg if I want it soft?",
    "What does HTTP status 304 mean?",
    "Which is the longest river in Europe?",
    "How do I read a text file line by line in Python?",
    "What does idempotent mean?",
    "Why do we have leap years?",
)
_TEXTS: Final = (
    (
        "Summarise this in two sentences:",
        (
            "Dear all, the office will move to the new building on Harbour Street in the second "
            "week of October. The movers come on Tuesday the 8th and Wednesday the 9th; on these "
            "two days please work from home. Pack your own desk into the green boxes by Monday "
            "evening and put your name on each. Computers are carried by the IT department, so "
            "leave them plugged in. From Thursday on the new reception is open from seven, and "
            "your old key cards work there until the end of the month. Bicycles can be left in "
            "the yard behind the canteen. If you need a standing desk or have other wishes, tell "
            "Mara before the end of September."
        ),
        "harbour october home boxes",
    ),
    (
        "Please sum up this text for me.",
        (
            "Sourdough bread rises without baker's yeast. Instead it uses a starter, a mix of "
            "flour and water in which wild yeasts and lactic acid bacteria live. The yeasts make "
            "the carbon dioxide that lifts the dough, and the bacteria make the acids that give "
            "the bread its taste and keep it fresh for longer. Because there are fewer yeasts "
            "than in a cube from the shop, everything takes more time: a dough may rise for "
            "twelve hours and more. A starter has to be fed every day with fresh flour and water, "
            "or once a week if it is kept in the refrigerator. Some bakeries have starters that "
            "are older than a hundred years."
        ),
        "sourdough yeast bacteria starter",
    ),
    (
        "tl;dr?",
        (
            "I bought the tent in spring for a trip along the coast with two friends. It was up "
            "in ten minutes at the first try, which surprised us all, and three people with their "
            "bags fit in well. In the first week we had only sun. Then came two days of rain with "
            "strong wind. The tent stood, but water came in along the seam above the door, not "
            "much, yet enough to wet a sleeping bag. The maker sent a tube of sealant within "
            "three days and excused himself; since then it has been dry. The pegs are too soft "
            "and bend on stony ground, so take better ones with you. For the price I would buy it "
            "again, but not for the mountains."
        ),
        "tent water seal pegs",
    ),
    (
        "Can you summarise the minutes below in a few lines?",
        (
            "Present: Ana, Bo, Chen, Dora. Excused: Emil. The release planned for Friday is "
            "postponed to next Wednesday, because the import of old customers fails for names "
            "with accents. Chen has found the cause and needs two days for it; Bo will test with "
            "the data of the two largest customers. Dora reports that support had 43 tickets this "
            "week, 12 fewer than in the week before; most were about passwords. Ana proposes to "
            "offer sign-in with a link by mail, and will write down what that takes. The summer "
            "party is on the 14th of July in the garden of the museum; Emil orders the food. The "
            "next meeting is on Thursday at ten."
        ),
        "wednesday accents tickets party",
    ),
    (
        "Give me the gist of this article:",
        (
            "For decades the old tram depot in the north of the city stood empty. Now a group of "
            "neighbours has rented it from the town for one euro a year. In the front hall there "
            "is a workshop in which bicycles, toasters and chairs are repaired on Saturdays; last "
            "year nearly nine hundred things were saved from the dump. In the back hall "
            "vegetables grow in raised beds, and twice a week a kitchen cooks with them for "
            "whoever comes. The town pays for electricity and water, everything else comes from "
            "donations. What worries the group is the roof: it needs repairs for two hundred "
            "thousand euros, and the contract ends in three years. The mayor has promised to talk "
            "with them before the winter."
        ),
        "depot repair vegetables roof",
    ),
    (
        "What is this about, in one or two sentences?",
        (
            "Ocean tides are raised mainly by the moon. Its gravity pulls more strongly on the "
            "side of the earth that faces it than on the far side, and this difference stretches "
            "the oceans into two bulges, one towards the moon and one away from it. As the earth "
            "turns, most coasts pass through both bulges, so they see two high tides in a little "
            "more than a day. The sun does the same at less than half the strength. When sun and "
            "moon stand in one line their effects add up to spring tides; when they are at right "
            "angles the neap tides are small. How high the water really climbs depends on the "
            "shape of the coast: in the Bay of Fundy it rises by up to sixteen metres, in the "
            "Mediterranean often by less than one."
        ),
        "moon bulge sun coast",
    ),
    (
        "Summarize the following email in three short points.",
        (
            "Hello, I ordered two lamps from you on the 2nd of March, order 58112. On the 9th one "
            "lamp arrived; its shade was cracked, although the box looked fine. The second has "
            "not come at all, while your site says that both were delivered. I called twice: the "
            "first time I was told to wait for a week, the second time nobody knew of my first "
            "call. I have attached photographs of the crack and of the label. Please send me a "
            "new shade and the second lamp before the end of the month, as they are a present, or "
            "else pay back the whole order. I would also like to know who is responsible for my "
            "case, so that I needn't tell the story a third time. Kind regards, J. Moreau"
        ),
        "lamp crack second photo",
    ),
    (
        "Could you shorten this to the most important facts?",
        (
            "The village library was opened in 1954 in two rooms above the fire station with 600 "
            "books that had been collected from door to door. In 1971 it moved to the former "
            "school, where it is to this day. It now has 21,000 books, films and games, and 1,300 "
            "readers, a third of them children. It is run by one librarian, Ms Okafor, and "
            "fourteen volunteers. Since 2019 readers with a card may enter with a code from six "
            "in the morning until ten at night, also when nobody is there; in all these years "
            "eleven books have disappeared. In spring the council decided to build a reading "
            "terrace. It will cost 85,000, of which the friends of the library have already "
            "brought together more than half."
        ),
        "library volunteers terrace books",
    ),
)
