"""Acting by one JSON object a turn: the form of models that hold a form well.

What an answer means is decided in `tasks.moves`. Above: `tasks.agent`.
"""

from __future__ import annotations

from typing import Final

from tale.models.backend import Message
from tale.prompts import NOT_HELD, REPEATED, actions_system
from tale.tasks.checks import Verdict
from tale.tasks.fences import NamedFile
from tale.tasks.hands import Action, EditFile, Outcome, Question, ReadFile, Reply, WriteFile
from tale.tasks.moves import Finish, Garbled, move_schema, read_move
from tale.tasks.task import StepResult, TokensSpent
from tale.tasks.transcript import Turn, for_model
from tale.tasks.workbench import Workbench

__all__ = ["work_by_json"]

_ACTION_TOKENS: Final = 3072
_SAME_AGAIN: Final = 3
"""The same action with the same result so often, and the step is given up."""


async def work_by_json(bench: Workbench) -> StepResult:
    """Do a step; raises as `tasks.agent.work` does."""
    tools, choice = bench.step.tools, bench.offered
    opening = (
        Message("system", actions_system(choice.lines(), choice.left_out)),
        Message("user", await bench.request()),
    )
    schema = move_schema(choice.shown)
    turns: list[Turn] = []
    replies: list[Reply] = []
    done: list[tuple[Action, Outcome]] = []
    garbled = rejected = same = 0
    verdicts: tuple[Verdict, ...] = ()
    while True:
        spent = sum((each.usage for each in replies), TokensSpent())
        if len(replies) >= bench.limits.turns or (
            spent.prompt + spent.completion >= bench.limits.tokens
        ):
            await bench.hands.note("It was ended: the step used up what it may take.")
            return await bench.result(replies[-1], await bench.check(), replies)
        question = Question(
            (*opening, *for_model(turns)),
            _ACTION_TOKENS,
            0.0 if not (garbled or same) else 0.7,
            role=bench.step.role,
            schema=schema,
            session=bench.session,
        )
        reply = await bench.hands.ask(question)
        replies.append(reply)
        move = read_move(reply.text, tools)
        match move:
            case Garbled(fault):
                garbled += 1
                turns.append(Turn(reply.text, fault))
                if garbled >= bench.limits.garbled:
                    await bench.give_up("could not be understood", opening, turns)
                continue
            case Finish(text):
                verdicts = await bench.check()
                failed = [each.text for each in verdicts if each.held is False]
                if not failed or rejected >= bench.limits.tries - 1:
                    return await bench.result(reply, verdicts, replies, answer=text)
                rejected += 1
                told = NOT_HELD.format(failures="\n\n".join(failed))
            case _:
                outcome = await _act(bench, move)
                again = bool(done) and done[-1] == (move, outcome)
                same = same + 1 if again else 0
                done.append((move, outcome))
                told = outcome.told or ("Done." if outcome.ok else "It failed.")
                if same >= _SAME_AGAIN - 1:
                    await bench.give_up("did the same again and again", opening, turns)
                told = f"{told}\n{REPEATED}" if again else told
        garbled = 0
        turns.append(Turn(reply.text, told))


async def _act(bench: Workbench, action: Action) -> Outcome:
    match action:
        case WriteFile(path, content):
            outcome = await bench.desk.put(NamedFile(path, content))
            text = f"{path} is written." if outcome.ok else outcome.text
            return Outcome(outcome.ok, text, said=outcome.said)
        case EditFile():
            return await bench.desk.act(action)
        case ReadFile(path):
            outcome = await bench.hands.act(action)
            if outcome.ok and not outcome.note:
                bench.desk.saw(path, outcome.text)
            return outcome
        case _:
            return await bench.hands.act(action)
