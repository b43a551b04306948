"""A request's chain of fallbacks, the checks of whole answers, and the cascade over them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import BackendBroke, BackendFailed, ContextExceeded
from tale.models.answer import Completion, Try
from tale.models.backend import Backend, ChatRequest, Chunk, Message, Residency, Role, Usage
from tale.models.choice import Candidate, Refuse, Use, Wait, choose
from tale.models.condition import State
from tale.models.further import PlainMemory
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.order import Order
from tale.models.pool_policy import Policy

pytestmark = pytest.mark.anyio

CALM = Policy(
    pulse_seconds=3600,
    stall_seconds=3600,
    check_seconds=3600,
    load_seconds=60,
    expected_load_seconds=60,
    wait_seconds=600,
    first_backoff=0.01,
    longest_backoff=0.02,
)
MIB = 2**20
JSON: Mapping[str, object] = {"response_format": {"type": "json_object"}}


def ask(text: str = "hello there", options: Mapping[str, object] | None = None) -> ChatRequest:
    return ChatRequest((Message("user", text),), options=options or {})


class Shelf:
    """Further models by name."""

    def __init__(self, *backends: InMemoryBackend) -> None:
        self.backends = {backend.model: backend for backend in backends}

    def names(self) -> Sequence[str]:
        return tuple(self.backends)

    def open(self, name: str) -> Backend:
        return self.backends[name]


class Remote(InMemoryBackend):
    """A model on another server: nobody may load or probe it."""

    def __init__(self, model: str = "big-remote") -> None:
        super().__init__(model)
        self._resident = True

    async def load(self) -> None:
        raise AssertionError("a remote model is never loaded")

    async def residency(self) -> Residency:
        raise AssertionError("a remote model is never looked at")


class Scene:
    """A small and a large model, one further one and a remote one."""

    def __init__(self) -> None:
        self.ux = InMemoryBackend("small")
        self.task = InMemoryBackend("large")
        self.spare = InMemoryBackend("spare")
        self.remote = Remote()
        self.free = 1000 * MIB

    @asynccontextmanager
    async def running(self, policy: Policy = CALM) -> AsyncGenerator[ModelPool]:
        pool = ModelPool(
            {"ux": self.ux, "task": self.task},
            policy=policy,
            memory=PlainMemory(lambda: self.free, {"spare": 100 * MIB}),
            source=Shelf(self.spare),
            remotes={"hosted": self.remote},
        )
        with anyio.fail_after(20):
            async with pool:
                await pool.ensure_ready("ux")
                await pool.ensure_ready("task")
                yield pool


@pytest.fixture
def scene() -> Scene:
    return Scene()


# -- chains ----------------------------------------------------------------------------------------


async def test_a_request_goes_down_its_chain_in_order(scene: Scene) -> None:
    scene.ux.inject("fail")
    scene.task.inject("fail")
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("task", "hosted")), ask("hi"))
    assert (answer.model, answer.role, answer.fell_back, answer.text) == (
        "big-remote",
        None,
        True,
        "hi",
    )
    assert answer.reason == "small failed this request, large failed this request"
    assert answer.tries == (
        Try("small", "failed this request"),
        Try("large", "failed this request"),
    )


async def test_an_empty_chain_has_the_request_fail_where_it_was_sent(scene: Scene) -> None:
    scene.ux.inject("fail")
    async with scene.running() as pool:
        with pytest.raises(BackendFailed):
            await pool.complete(Order("ux", ()), ask())
    assert len(scene.task.requests) == 0


async def test_names_in_a_chain_that_nobody_knows_are_passed_over(scene: Scene) -> None:
    scene.ux.inject("fail")
    async with scene.running() as pool:
        answer = await pool.complete(Order("small", ("gone", "ux", "large")), ask())
    assert answer.model == "large"


async def test_a_remote_model_answers_only_who_names_it(scene: Scene) -> None:
    async with scene.running() as pool:
        assert (await pool.complete("hosted", ask("hi"))).model == "big-remote"
        assert "hosted" in pool.names()
        await pool.ensure_ready("hosted")
        scene.ux.inject("fail")
        scene.task.inject("fail")
        with pytest.raises(BackendFailed):
            await pool.complete("ux", ask())
        status = {model.name: model for model in (await pool.status()).models}
        assert (status["hosted"].requests, status["hosted"].in_flight) == (1, 0)
        assert status["hosted"].ttft_warm_ms is not None
        assert [item.role for item in (await pool.status()).switching] == ["ux", "task"]


async def test_a_remote_model_that_fails_is_left_for_the_next(scene: Scene) -> None:
    scene.remote.inject("unavailable")
    async with scene.running() as pool:
        answer = await pool.complete(Order("hosted", ("task",)), ask("hi"))
        assert (answer.model, answer.reason) == ("large", "big-remote failed this request")
        status = {model.name: model for model in (await pool.status()).models}
    assert "not in memory" in status["hosted"].last_error


async def test_an_optional_model_of_a_chain_is_loaded_where_it_fits(scene: Scene) -> None:
    scene.ux.inject("fail")
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("spare", "task")), ask())
        assert answer.model == "spare"
        await pool.unload("spare")
        scene.free = 0
        scene.ux.inject("fail")
        answer = await pool.complete(Order("ux", ("spare", "task")), ask())
        assert answer.model == "large"
    assert scene.spare.loads == 1


async def test_an_optional_model_is_not_loaded_when_that_outlasts_the_deadline(
    scene: Scene,
) -> None:
    scene.ux.inject("fail")
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("spare", "task")), ask(), deadline=30)
    assert (answer.model, scene.spare.loads) == ("large", 0)


async def test_a_model_asked_for_that_can_not_be_loaded_is_replaced(scene: Scene) -> None:
    scene.free = 0
    async with scene.running() as pool:
        answer = await pool.complete(Order("spare", ("task",)), ask())
    assert (answer.model, answer.fell_back) == ("large", True)
    assert answer.reason == "spare can't be held in memory"


async def test_a_full_line_is_left_for_a_shorter_one(scene: Scene) -> None:
    async with scene.running(replace(CALM, longest_line=1)) as pool:
        running = await pool.chat("task", ask("first in"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.complete, "task", ask("in line"))
            await anyio.wait_all_tasks_blocked()
            answer = await pool.complete(Order("task", ("ux",)), ask("third"))
            assert (answer.model, answer.reason) == ("small", "large has a full line")
            await running.aclose()


async def test_a_prompt_too_long_for_one_goes_to_the_wider_window_only(scene: Scene) -> None:
    class Narrow(InMemoryBackend):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
            self.requests.append(request)
            raise ContextExceeded("The prompt has 5,000 tokens.")
            yield Chunk()

    scene.ux = Narrow("small", context=2048)
    scene.task = InMemoryBackend("large", context=8192)
    scene.remote = Remote()
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("task",)), ask("long"))
        assert (answer.model, answer.reason) == ("large", "small has too small a window")
    scene.ux, scene.task = Narrow("small", context=4096), Narrow("large", context=2048)
    async with scene.running() as pool:
        with pytest.raises(ContextExceeded, match="Windows in tokens: ux 4,096, task 2,048"):
            await pool.complete(Order("ux", ("task",)), ask("long"))
    assert scene.task.requests == []


async def test_a_model_killed_in_mid_answer_is_asked_once_more_and_then_left(
    scene: Scene,
) -> None:
    class Dying(InMemoryBackend):
        deaths = 1

        async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
            self.requests.append(request)
            yield Chunk("half an ")
            if len(self.requests) <= self.deaths:
                self._resident = False
                raise BackendBroke("killed")
            yield Chunk("answer", finish="stop")

    dying = scene.task = Dying("large")
    async with scene.running() as pool:
        answer = await pool.complete("task", ask())
        assert (answer.text, answer.model) == ("half an answer", "large")
        assert answer.tries == (Try("large", "broke off"),)
        dying.deaths = 99
        answer = await pool.complete("task", ask("hi"))
        assert (answer.text, answer.model, answer.fell_back) == ("hi", "small", True)


async def test_an_answer_that_takes_too_long_is_asked_of_the_next(scene: Scene) -> None:
    scene.task.inject("stall")
    async with scene.running() as pool:
        answer = await pool.complete(Order("task", ("ux",), seconds=0.05), ask("hi"))
    assert (answer.text, answer.model, answer.fell_back) == ("hi", "small", True)
    assert answer.tries == (Try("large", "failed this request"),)


async def test_whoever_dies_every_request_is_answered(scene: Scene) -> None:
    """Twenty requests while the task model dies again and again: the other one answers."""
    ends: list[str] = []
    async with scene.running() as pool:

        async def one(number: int) -> None:
            answer = await pool.complete("task", ask(f"job {number}"), deadline=15)
            ends.append(answer.model)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)
                scene.task.evict()
                await anyio.lowlevel.checkpoint()
    assert len(ends) == 20
    assert set(ends) <= {"large", "small"}


# -- checks and the cascade ------------------------------------------------------------------------


def not_empty(answer: Completion) -> str:
    return "" if "good" in answer.text else "gave a poor answer"


async def test_an_answer_that_fails_its_check_is_asked_of_the_next(scene: Scene) -> None:
    scene.ux = InMemoryBackend("small", answers=["so so"])
    scene.task = InMemoryBackend("large", answers=["a good one"])
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("task",), check=not_empty), ask("a b c"))
    assert (answer.model, answer.text, answer.fell_back) == ("large", "a good one", True)
    assert answer.reason == "small gave a poor answer"
    assert (answer.tries, answer.fault) == (
        (Try("small", "gave a poor answer", Usage(3, 2)),),
        "",
    )


async def test_where_every_answer_is_poor_the_last_is_given_and_says_so(scene: Scene) -> None:
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("task",), check=not_empty), ask("bad"))
    assert (answer.model, answer.text, answer.fault) == ("large", "bad", "gave a poor answer")
    assert answer.reason == (
        "small gave a poor answer; large gave a poor answer, and nobody else could do better"
    )
    assert [tried.model for tried in answer.tries] == ["small"]
    assert (len(scene.ux.requests), len(scene.task.requests)) == (1, 1)


async def test_a_poor_answer_is_better_than_none(scene: Scene) -> None:
    scene.task.inject("fail")
    async with scene.running() as pool:
        answer = await pool.complete(Order("ux", ("task",), check=not_empty), ask("bad"))
    assert (answer.model, answer.text, answer.fell_back) == ("small", "bad", False)
    assert [tried.model for tried in answer.tries] == ["large"]


async def test_nobody_waits_for_a_model_that_is_down_with_an_answer_in_hand(scene: Scene) -> None:
    async with scene.running() as pool:
        scene.task.evict()
        scene.task.inject("hang_load")
        await pool.status()
        answer = await pool.complete(Order("ux", ("task",), check=not_empty), ask("bad"))
    assert (answer.model, answer.fault) == ("small", "gave a poor answer")


async def test_json_that_does_not_parse_is_asked_of_the_next(scene: Scene) -> None:
    scene.ux = InMemoryBackend("small", answers=['{"a": 1'])
    scene.task = InMemoryBackend("large", answers=['{"a": 1}'])
    async with scene.running() as pool:
        answer = await pool.complete("ux", ask("json please", JSON))
    assert (answer.model, answer.text) == ("large", '{"a": 1}')
    assert answer.reason == "small gave invalid JSON"


async def test_json_that_breaks_its_schema_is_asked_of_the_next(scene: Scene) -> None:
    shape = {"type": "json_schema", "json_schema": {"schema": {"required": ["a"]}}}
    scene.ux = InMemoryBackend("small", answers=["{}"])
    scene.task = InMemoryBackend("large", answers=['{"a": 1}'])
    async with scene.running() as pool:
        answer = await pool.complete("ux", ask("json please", {"response_format": shape}))
    assert (answer.model, answer.reason) == ("large", "small gave JSON that breaks its schema at $")


async def test_a_deadline_that_passes_in_the_second_try_leaves_the_first_answer(
    scene: Scene,
) -> None:
    scene.task.inject("stall")
    async with scene.running() as pool:
        order = Order("ux", ("task",), check=not_empty)
        answer = await pool.complete(order, ask("bad"), deadline=0.5)
    assert (answer.model, answer.text, answer.fault) == ("small", "bad", "gave a poor answer")


async def test_a_stream_is_never_replaced(scene: Scene) -> None:
    scene.ux = InMemoryBackend("small", answers=["so so"])
    async with scene.running() as pool:
        answer = await pool.chat(Order("ux", ("task",), check=not_empty), ask("x", JSON))
        text = "".join([chunk.text async for chunk in answer.chunks])
    assert (answer.model, text) == ("small", "so so")
    assert scene.task.requests == []


# -- the pure choice -------------------------------------------------------------------------------

STATES: Sequence[State] = ("loading", "ready", "recovering", "retrying", "unloading")


ROLES: Sequence[Role | None] = ("ux", "task", None)


@st.composite
def candidates(draw: st.DrawFn, name: str) -> Candidate:
    state = draw(st.sampled_from(STATES))
    return Candidate(
        name,
        draw(st.sampled_from(ROLES)),
        state,
        usable=draw(st.booleans()) and state in ("ready", "loading"),
        full=draw(st.booleans()),
        down_for=draw(st.floats(0, 100)),
        expected=draw(st.floats(1, 100)),
    )


CHAIN = st.lists(candidates("other"), max_size=4)


@given(candidates("wanted"), CHAIN, st.floats(-1, 100), st.booleans())
def test_a_choice_is_total_and_names_nobody_who_is_down(
    wanted: Candidate, others: list[Candidate], remaining: float, patient: bool
) -> None:
    match choose(wanted, others, remaining=remaining, patient=patient):
        case Use(0, ""):
            assert wanted.usable
        case Use(place, reason):
            picked = others[place - 1]
            assert picked.usable
            assert picked.state == "ready" or picked.expected < remaining
            assert reason.startswith("wanted ")
            assert not any(
                other.usable and other.state == "ready" and not other.full
                for other in others[: place - 1]
            )
        case Wait(seconds):
            assert patient
            assert seconds <= remaining
        case Refuse():
            assert not wanted.usable
            assert not any(other.usable and other.state == "ready" for other in others)
