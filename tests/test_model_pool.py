"""The pool: both core models stay, requests find a model, whatever breaks comes back."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    ContextExceeded,
    CoreModelPinned,
    DeadlineExceeded,
    DownloadFailed,
    InsufficientMemory,
    LoadFailed,
    ModelError,
    ModelFileDamaged,
    ServiceUnavailable,
    UnknownModel,
)
from tale.models.admission import Admission, Evict, Load, TooLarge, WaitForIdle, admit
from tale.models.answer import Answer
from tale.models.backend import Backend, ChatRequest, Chunk, Message, Residency, Role, Usage
from tale.models.choice import Candidate, Refuse, Use, Wait, choose
from tale.models.condition import (
    Broke,
    Came,
    Condition,
    Event,
    Failed,
    RetryDue,
    UnloadAsked,
    backoff,
    transition,
)
from tale.models.further import NoFurtherModels, PlainMemory
from tale.models.generation import Generation
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.order import Order
from tale.models.pool_policy import Policy, estimated_tokens, first_token_limit
from tale.models.pool_stats import ModelStats, ModelStatus, Sample, SwitchingStats
from tale.models.resident import ResidentModel

pytestmark = pytest.mark.anyio

# Generous where a test must not run into it, tiny where a test waits for it.
CALM = Policy(
    pulse_seconds=3600,
    stall_seconds=3600,
    check_seconds=3600,
    load_seconds=60,
    expected_load_seconds=60,
    wait_seconds=60,
    first_backoff=0.01,
    longest_backoff=0.02,
)
MIB = 2**20


def ask(text: str = "hello there", max_tokens: int | None = None) -> ChatRequest:
    return ChatRequest((Message("user", text),), max_tokens=max_tokens)


async def read(answer: Answer) -> str:
    return "".join([chunk.text async for chunk in answer.chunks])


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition under a deadline."""
    with anyio.fail_after(10):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await anyio.lowlevel.checkpoint()


class Library:
    """A source of further models that hands out in-memory ones."""

    def __init__(self, *names: str) -> None:
        self.backends = {name: InMemoryBackend(name, memory_bytes=100 * MIB) for name in names}

    def names(self) -> Sequence[str]:
        return tuple(self.backends)

    def open(self, name: str) -> Backend:
        return self.backends[name]


class Bench:
    """A pool over two in-memory models, and what a test needs to play with it."""

    def __init__(self) -> None:
        self.ux = InMemoryBackend("small")
        self.task = InMemoryBackend("large")
        self.free = 1000 * MIB
        self.library = Library("one", "two", "three")

    @property
    def core(self) -> Mapping[Role, Backend]:
        return {"ux": self.ux, "task": self.task}

    @asynccontextmanager
    async def running(
        self,
        policy: Policy = CALM,
        *,
        warm_prompts: Mapping[Role, tuple[str, ...]] | None = None,
        slots: Mapping[Role, int] | None = None,
        ready: bool = True,
        processes_changed: Callable[[], Awaitable[object]] | None = None,
    ) -> AsyncGenerator[ModelPool]:
        memory = PlainMemory(lambda: self.free, dict.fromkeys(self.library.names(), 100 * MIB))
        pool = ModelPool(
            self.core,
            policy=policy,
            warm_prompts=warm_prompts,
            slots=slots,
            memory=memory,
            source=self.library,
            processes_changed=processes_changed,
        )
        with anyio.fail_after(20):
            async with pool:
                if ready:
                    await pool.ensure_ready("ux")
                    await pool.ensure_ready("task")
                yield pool


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def model_status(pool: ModelPool, key: str) -> ModelStatus:
    status = await pool.status()
    return next(model for model in status.models if key in (model.role, model.name))


# -- residency -------------------------------------------------------------------------------------


async def test_both_core_models_load_at_start_and_say_so(bench: Bench) -> None:
    async with bench.running(slots={"ux": 2}) as pool:
        status = await pool.status()
    ux, task = status.models
    assert (ux.role, ux.name, ux.state, ux.resident, ux.slots) == ("ux", "small", "ready", True, 2)
    assert (task.role, task.name, task.state, task.resident) == ("task", "large", "ready", True)
    assert ux.load_seconds is not None
    assert (ux.starts, task.starts) == (1, 1)
    assert (status.available_bytes, status.reserve_bytes) == (1000 * MIB, 512 * MIB)


async def test_a_core_model_can_not_be_unloaded_by_role_or_name(bench: Bench) -> None:
    async with bench.running() as pool:
        for name in ("ux", "task", "small", "large"):
            with pytest.raises(CoreModelPinned, match="stays resident") as caught:
                await pool.unload(name)
            assert "tale.toml" in caught.value.hint
    assert bench.ux.unloads == bench.task.unloads == 0


async def test_leaving_the_pool_unloads_nothing(bench: Bench) -> None:
    async with bench.running() as pool:
        await pool.load("one")
    assert bench.ux.unloads == bench.task.unloads == bench.library.backends["one"].unloads == 0


async def test_system_prompts_are_computed_after_a_load_and_after_a_recovery(bench: Bench) -> None:
    async with bench.running(warm_prompts={"task": ("work well", "be brief")}) as pool:
        prompts = [request.messages[0].content for request in bench.task.requests]
        assert prompts == ["work well", "be brief"]
        assert all(request.max_tokens == 1 for request in bench.task.requests)
        assert (await model_status(pool, "task")).ttft_cold_ms is not None
        bench.task.evict()
        await pool.status()
        await until(lambda: len(bench.task.requests) == 4)
        await pool.ensure_ready("task")
    assert bench.task.requests[2].messages[0] == Message("system", "work well")


async def test_a_warm_prompt_that_a_model_refuses_does_not_keep_it_from_service(
    bench: Bench,
) -> None:
    bench.ux.inject("fail")
    async with bench.running(warm_prompts={"ux": ("too long for it",)}) as pool:
        assert (await model_status(pool, "ux")).state == "ready"


async def test_a_model_that_can_not_load_is_tried_again_for_ever(bench: Bench) -> None:
    bench.ux.inject("unavailable", times=8)
    async with bench.running() as pool:
        status = await model_status(pool, "ux")
    assert status.state == "ready"
    assert "not in memory" in status.last_error


async def test_a_load_that_hangs_is_given_up_and_killed(bench: Bench) -> None:
    bench.ux.inject("hang_load")
    async with bench.running(replace(CALM, load_seconds=0.05), ready=False) as pool:
        await until(lambda: len(bench.ux.recoveries) > 0)
        bench.ux.mend()
        await pool.ensure_ready("ux")
    assert "was not resident after" in bench.ux.recoveries[0]


async def test_a_backend_with_a_fault_of_its_own_takes_nobody_down(bench: Bench) -> None:
    class Faulty(InMemoryBackend):
        async def load(self) -> None:
            if not self.requests:
                self.requests.append(ask())
                raise ZeroDivisionError
            await super().load()

    bench.ux = Faulty("small")
    async with bench.running() as pool:
        assert "ZeroDivisionError" in (await model_status(pool, "ux")).last_error


class Preparing:
    """A preparation that a test lets through or fails."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: Exception | None = None
        self.said = "downloading 40%"
        self.mended: list[tuple[str, ModelError]] = []

    async def mend(self, model: str, error: ModelError) -> None:
        self.mended.append((model, error))

    async def ensure(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        await self.done.wait()

    def doing(self, model: str) -> str:
        return "" if self.done.is_set() else f"{self.said} of {model}"


async def test_requests_wait_while_files_are_fetched_and_the_status_shows_it(bench: Bench) -> None:
    preparing = Preparing()
    async with ModelPool(bench.core, policy=CALM, preparation=preparing) as pool:
        with pytest.raises(DeadlineExceeded, match="downloading 40% of large"):
            await pool.chat("task", ask(), deadline=0.01)
        assert (await model_status(pool, "ux")).detail == "downloading 40% of small"
        assert bench.ux.loads == 0
        preparing.done.set()
        assert (await pool.complete("ux", ask("hi"))).text == "hi"


async def test_a_failed_download_is_tried_again(bench: Bench) -> None:
    preparing = Preparing()
    preparing.error = DownloadFailed("no network")
    preparing.done.set()
    async with ModelPool(bench.core, policy=CALM, preparation=preparing) as pool:
        await pool.ensure_ready("ux", 10)
        await pool.ensure_ready("task", 10)


@pytest.mark.parametrize("error", [LoadFailed("refused."), ModelFileDamaged("cut off.")])
async def test_a_model_that_can_not_be_loaded_says_why_and_its_file_is_seen_to(
    bench: Bench, error: ModelError
) -> None:
    class Damaged(InMemoryBackend):
        async def load(self) -> None:
            if not preparing.mended:
                raise error
            await super().load()

    preparing = Preparing()
    preparing.done.set()
    bench.task = Damaged("large")
    slow = replace(CALM, first_backoff=0.2, longest_backoff=0.2)
    async with ModelPool(bench.core, policy=slow, preparation=preparing) as pool:
        await until(lambda: bool(preparing.mended))
        assert preparing.mended == [("large", error)]
        assert (await model_status(pool, "task")).detail == error.message
        await pool.ensure_ready("task", 10)
        assert (await model_status(pool, "task")).detail == ""


async def test_too_little_memory_is_refused_at_once_and_nothing_loads(bench: Bench) -> None:
    class Poor(Preparing):
        async def ensure(self) -> None:
            raise InsufficientMemory("the pair needs 3 GiB; 1 GiB is available.")

    policy = replace(CALM, first_backoff=3600, longest_backoff=3600)
    async with ModelPool(bench.core, policy=policy, preparation=Poor()) as pool:
        for target in ("ux", "task"):
            with pytest.raises(InsufficientMemory, match="needs 3 GiB"):
                await pool.chat(target, ask())
            with pytest.raises(InsufficientMemory, match="needs 3 GiB"):
                await pool.ensure_ready(target)
    assert bench.ux.loads == bench.task.loads == 0


# -- requests --------------------------------------------------------------------------------------


async def test_a_request_goes_to_its_role_or_name(bench: Bench) -> None:
    async with bench.running() as pool:
        for target, model, role in (("ux", "small", "ux"), ("large", "large", "task")):
            answer = await pool.chat(target, ask("a b c"))
            assert (answer.model, answer.role, answer.fell_back, answer.reason) == (
                model,
                role,
                False,
                "",
            )
            assert await read(answer) == "a b c"
            await answer.aclose()


async def test_tokens_are_counted_by_a_model_that_is_there(bench: Bench) -> None:
    async with bench.running() as pool:
        name, role = pool.named("task")
        assert role == "task"
        assert await pool.count_tokens(name, "one two three") == 3
        assert pool.named("nobody") == ("nobody", None)
        assert await pool.count_tokens("nobody", "one two three") is None
        bench.task.evict()
        assert await pool.count_tokens(name, "one two three") is None


async def test_a_whole_answer_carries_what_the_stream_did(bench: Bench) -> None:
    async with bench.running() as pool:
        whole = await pool.complete("ux", ask("one two three", max_tokens=2))
    assert (whole.text, whole.finish, whole.usage) == ("one two", "length", Usage(3, 2))
    assert (whole.model, whole.role) == ("small", "ux")


async def test_an_unknown_model_is_named_with_those_that_are_known(bench: Bench) -> None:
    async with bench.running() as pool:
        with pytest.raises(UnknownModel, match="'gpt-9'") as caught:
            await pool.chat("gpt-9", ask())
        assert "auto, ux, task, small, large, one" in caught.value.hint
        assert pool.names() == ("small", "large", "one", "two", "three")


async def test_closing_an_answer_stops_the_generation_and_frees_its_slot(bench: Bench) -> None:
    async with bench.running() as pool:
        for _ in range(3):
            answer = await pool.chat("ux", ask("many words here"))
            assert (await model_status(pool, "ux")).in_flight == 1
            await answer.aclose()
            await answer.aclose()
        assert (await model_status(pool, "ux")).in_flight == 0
    assert bench.ux.cancelled == 3


async def test_requests_beyond_the_slots_wait_for_one(bench: Bench) -> None:
    async with bench.running() as pool:
        first = await pool.chat("ux", ask("first in"))
        done: list[str] = []
        async with anyio.create_task_group() as tasks:

            async def second() -> None:
                done.append((await pool.complete("ux", ask("second"))).text)

            tasks.start_soon(second)
            status = await model_status(pool, "ux")
            while status.waiting == 0:
                status = await model_status(pool, "ux")
            assert (status.in_flight, status.waiting, done) == (1, 1, [])
            await first.aclose()
    assert done == ["second"]


async def test_a_request_that_gets_no_slot_in_time_says_who_is_busy(bench: Bench) -> None:
    async with bench.running() as pool:
        first = await pool.chat("ux", ask("first in"))
        with pytest.raises(DeadlineExceeded, match=r"ux .small. is ready"):
            await pool.chat("ux", ask(), deadline=0.01)
        await first.aclose()


async def test_a_deadline_cuts_a_running_answer_off_with_figures(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.inject("stall")
        answer = await pool.chat("ux", ask("one two"), deadline=0.05)
        with pytest.raises(DeadlineExceeded, match="had given 1 tokens"):
            await read(answer)
        assert (await model_status(pool, "ux")).state == "ready"


async def test_silence_for_want_of_a_core_is_no_hang() -> None:
    backend = InMemoryBackend("large")
    await backend.load()
    policy = replace(CALM, stall_seconds=0.5)
    model = ResidentModel(
        backend, kind="memory", role="task", slots=1, policy=policy, clock=anyio.current_time
    )
    model.apply(Came())
    model.residency = await backend.residency()
    backend.inject("stall")
    assert await model.acquire(math.inf)
    generation = model.generate(ask("one two"), anyio.current_time() + 0.7)
    await generation.start()

    async def look() -> None:
        await anyio.wait_all_tasks_blocked()
        backend.waited += 10
        await model.look()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        with pytest.raises(DeadlineExceeded, match="had given 1 tokens"):
            _ = [chunk async for chunk in generation]
    assert (model.ready, model.running) == (True, set())


class InLine(InMemoryBackend):
    """A server that takes one request at a time; who comes meanwhile waits in its line."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.turn = anyio.Semaphore(1)
        self.go = anyio.Event()
        self.came: list[str] = []

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        self.came.append(request.messages[-1].content)
        async with self.turn:
            await self.go.wait()
            if request.messages[-1].content == "bad":
                raise BackendFailed("its grammar can't be parsed")
            async for chunk in super().chat(request):
                yield chunk


async def two_in_line(backend: InLine) -> tuple[Generation, Generation]:
    """Give two answers that a model may generate at once; its server does one at a time."""
    await backend.load()
    model = ResidentModel(
        backend, kind="memory", role="task", slots=2, policy=CALM, clock=anyio.current_time
    )
    model.apply(Came())
    assert await model.acquire(math.inf)
    assert await model.acquire(math.inf)
    return model.generate(ask("one two"), math.inf), model.generate(ask("one two"), math.inf)


async def test_the_silence_of_who_waits_in_the_servers_own_line_is_no_hang() -> None:
    first, second = await two_in_line(InLine("large"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.start)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(second.start)
        await anyio.wait_all_tasks_blocked()
        assert second.begins_by >= first.begins_by + CALM.stall_seconds
        tasks.cancel_scope.cancel()


async def test_a_token_of_another_request_excuses_the_silence_of_who_waits() -> None:
    backend = InLine("large")
    first, second = await two_in_line(backend)
    backend.go.set()
    await first.start()
    assert first.begins_by == -math.inf
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.start)
        await anyio.wait_all_tasks_blocked()
        before = second.begins_by
        assert [(await anext(first)).text, (await anext(first)).text] == ["one", " two"]
        assert second.begins_by > before
        assert [chunk.finish async for chunk in first] == ["stop"]
        await anyio.wait_all_tasks_blocked()
        assert second.begins_by == -math.inf
    await second.aclose()


async def test_a_pulse_does_not_wait_in_line_behind_a_request(bench: Bench) -> None:
    one = bench.ux = InLine("small")
    async with bench.running() as pool, anyio.create_task_group() as tasks:

        async def fail() -> None:
            with pytest.raises(BackendFailed, match="grammar"):
                await pool.complete(Order("ux", chain=()), ask("bad"))

        tasks.start_soon(fail)
        await anyio.wait_all_tasks_blocked()
        answers: list[Answer] = []

        async def begin() -> None:
            answers.append(await pool.chat("ux", ask("good answer")))

        tasks.start_soon(begin)
        await anyio.wait_all_tasks_blocked()
        one.go.set()
        await until(lambda: len(answers) == 1)
        await anyio.wait_all_tasks_blocked()
        assert one.came == ["bad", "good answer"]
        assert await read(answers[0]) == "good answer"
        await until(lambda: one.came == ["bad", "good answer", "Hi"])
        assert (await model_status(pool, "ux")).recoveries == 0


async def test_cancelling_a_caller_frees_the_slot(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.inject("stall")
        with anyio.move_on_after(0.02):
            await pool.complete("ux", ask("one two"))
        assert (await model_status(pool, "ux")).in_flight == 0


# -- fallback and recovery -------------------------------------------------------------------------


async def test_talk_falls_back_to_the_task_model_at_once_and_ux_comes_back(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.evict()
        bench.ux.inject("hang_load")
        answer = await pool.complete("ux", ask("quick"))
        assert (answer.model, answer.role, answer.fell_back) == ("large", "task", True)
        assert answer.reason == "small is recovering"
        bench.ux.mend()
        await pool.ensure_ready("ux")
        status = await model_status(pool, "ux")
        assert (status.fallbacks, status.recoveries, status.requests) == (1, 1, 1)
        assert (await pool.complete("ux", ask("again"))).model == "small"
    assert bench.ux.recoveries == ["small is not in memory."]


async def test_work_waits_for_its_own_model_while_it_recovers(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.task.evict()
        answer = await pool.complete("task", ask("work"))
        assert (answer.model, answer.fell_back) == ("large", False)
        assert (await model_status(pool, "task")).recoveries == 1


async def test_work_falls_back_when_the_recovery_outlasts_the_deadline(bench: Bench) -> None:
    bench.task.inject("hang_load")
    async with bench.running(ready=False) as pool:
        await pool.ensure_ready("ux")
        answer = await pool.complete("task", ask("work"), deadline=5)
        assert (answer.model, answer.fell_back) == ("small", True)
        assert "outlasts the deadline" in answer.reason
        assert (await model_status(pool, "task")).fallbacks == 1


async def test_work_falls_back_when_the_recovery_takes_longer_than_usual(bench: Bench) -> None:
    bench.task.inject("hang_load")
    policy = replace(CALM, expected_load_seconds=0.02, shortest_load_seconds=0.02)
    async with bench.running(policy, ready=False) as pool:
        await pool.ensure_ready("ux")
        answer = await pool.complete("task", ask("work"))
        assert (answer.model, answer.fell_back) == ("small", True)


async def test_with_nobody_there_a_request_waits_and_then_says_so_with_figures(
    bench: Bench,
) -> None:
    bench.ux.inject("hang_load")
    bench.task.inject("hang_load")
    async with bench.running(replace(CALM, wait_seconds=0.02), ready=False) as pool:
        with pytest.raises(DeadlineExceeded, match=r"ux .small. is loading for 0\.\d s"):
            await pool.chat("ux", ask(), deadline=0.01)
        with pytest.raises(ServiceUnavailable, match=r"task .large. is loading"):
            await pool.chat("task", ask())
        with pytest.raises(ServiceUnavailable):
            await pool.ensure_ready("task")


async def test_a_failing_model_is_left_for_the_other_and_examined(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.inject("fail", times=1)
        answer = await pool.complete("ux", ask("hello"))
        assert (answer.model, answer.fell_back) == ("large", True)
        assert answer.reason == "small failed this request"
        # One token shows that it was the request's fault, not the model's.
        await until(lambda: len(bench.ux.requests) == 2)
        assert (await model_status(pool, "ux")).recoveries == 0


async def test_when_both_fail_the_request_its_own_error_is_told(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.inject("fail", times=2)
        bench.task.inject("fail", times=2)
        with pytest.raises(BackendFailed, match="told to fail"):
            await pool.chat("ux", ask())


async def test_a_break_after_the_first_chunk_is_the_streaming_callers_to_see(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.inject("break", times=1)
        answer = await pool.chat("ux", ask("one two"))
        with pytest.raises(BackendFailed, match="break off"):
            await read(answer)
        assert (await model_status(pool, "ux")).in_flight == 0


async def test_a_break_after_the_first_chunk_is_met_for_whole_answers(bench: Bench) -> None:
    async with bench.running() as pool:
        bench.ux.inject("break", times=1)
        answer = await pool.complete("ux", ask("one two"))
        assert (answer.text, answer.model) == ("one two", "large")
        bench.ux.inject("break", times=1)
        bench.task.inject("break", times=1)
        with pytest.raises(BackendFailed, match="break off"):
            await pool.complete("ux", ask("one two"))


async def test_a_prompt_too_long_for_the_substitute_waits_for_the_model_it_fits(
    bench: Bench,
) -> None:
    class Narrow(InMemoryBackend):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
            raise ContextExceeded("too long for me")
            yield Chunk()

    bench.task = Narrow("large")
    async with bench.running() as pool:
        with pytest.raises(ContextExceeded):
            await pool.chat("task", ask())
        bench.ux.evict()
        answer = await pool.complete("ux", ask("fits only the small one"))
        assert (answer.model, answer.fell_back) == ("small", False)


async def test_silence_in_a_request_counts_as_a_stall_and_the_model_is_restarted(
    bench: Bench,
) -> None:
    async with bench.running(replace(CALM, stall_seconds=0.03)) as pool:
        bench.ux.inject("stall")
        answer = await pool.chat("ux", ask("one two"))
        with pytest.raises(BackendStalled, match="gave no token"):
            await read(answer)
        await until(lambda: len(bench.ux.recoveries) > 0)
        await pool.ensure_ready("ux")
        assert (await pool.complete("ux", ask("fine again"))).model == "small"


async def test_an_idle_model_that_hangs_is_found_by_its_pulse(bench: Bench) -> None:
    policy = replace(CALM, pulse_seconds=0.02, stall_seconds=0.02)
    async with bench.running(policy) as pool:
        await until(lambda: len(bench.ux.requests) > 0)
        assert bench.ux.requests[0].max_tokens == 1
        bench.ux.inject("unavailable")
        await until(lambda: len(bench.ux.recoveries) > 0)
        assert "pulse failed" in bench.ux.recoveries[0]
        await pool.ensure_ready("ux")


async def test_a_pulse_gives_way_to_a_request(bench: Bench) -> None:
    class Slow(InMemoryBackend):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
            self.requests.append(request)
            if request.max_tokens == 1:
                await anyio.sleep_forever()
            yield Chunk("now")
            yield Chunk(finish="stop")

    slow = bench.ux = Slow("small")
    async with bench.running(replace(CALM, pulse_seconds=0.01)) as pool:
        await until(lambda: len(slow.requests) > 0)
        assert (await pool.complete("ux", ask())).text == "now"
        assert (await model_status(pool, "ux")).recoveries == 0


async def test_an_evicted_model_is_noticed_by_the_regular_look(bench: Bench) -> None:
    async with bench.running(replace(CALM, check_seconds=0.01)):
        bench.ux.evict()
        await until(lambda: bench.ux.recoveries == ["it is no longer resident"])


async def test_a_dead_process_is_noticed_as_soon_as_processes_change(bench: Bench) -> None:
    died = anyio.Event()

    async def changed() -> None:
        nonlocal died
        await died.wait()
        died = anyio.Event()

    async with bench.running(processes_changed=changed) as pool:
        bench.task.evict()
        died.set()
        await until(lambda: len(bench.task.recoveries) == 1)
        await pool.ensure_ready("task")
        assert (await model_status(pool, "task")).starts == 2


async def test_a_replaced_process_is_warmed_but_not_killed(bench: Bench) -> None:
    async with bench.running(warm_prompts={"ux": ("hello",)}) as pool:
        bench.ux.evict()
        await bench.ux.load()
        assert len(bench.ux.requests) == 1
        await pool.status()
        await until(lambda: len(bench.ux.requests) == 2)
        await pool.ensure_ready("ux")
        assert (await model_status(pool, "ux")).recoveries == 1
    assert bench.ux.recoveries == []


class Mute(InMemoryBackend):
    """Does not always say whether it is resident."""

    mute = False

    async def residency(self) -> Residency:
        if self.mute:
            raise BackendUnavailable("no answer within 2 s")
        return await super().residency()


async def test_a_model_that_can_not_be_looked_at_is_asked_for_a_token(bench: Bench) -> None:
    mute = bench.ux = Mute("small")
    async with bench.running() as pool:
        mute.mute = True
        assert (await model_status(pool, "ux")).last_error == "no answer within 2 s"
        await until(lambda: len(mute.requests) == 1)
        await anyio.wait_all_tasks_blocked()
        assert (await model_status(pool, "ux")).state == "ready"
    assert mute.recoveries == []


async def test_a_model_that_neither_can_be_looked_at_nor_answers_is_recovered(bench: Bench) -> None:
    mute = bench.ux = Mute("small")
    async with bench.running(replace(CALM, check_seconds=0.01)) as pool:
        mute.mute = True
        mute.inject("unavailable")
        await until(lambda: len(mute.recoveries) > 0)
        assert "pulse failed" in mute.recoveries[0]
        mute.mute = False
        await pool.ensure_ready("ux")


async def test_a_backend_that_crashes_in_a_pulse_is_recovered_and_takes_nobody_down(
    bench: Bench,
) -> None:
    class Crashing(InMemoryBackend):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
            if not self.recoveries:
                raise ZeroDivisionError
            async for chunk in super().chat(request):
                yield chunk

    crashing = bench.ux = Crashing("small")
    async with bench.running(replace(CALM, pulse_seconds=0.01)) as pool:
        await until(lambda: len(crashing.recoveries) > 0)
        assert "ZeroDivisionError" in crashing.recoveries[0]
        assert (await pool.complete("task", ask())).model == "large"


async def test_an_answer_that_ends_before_it_begins_goes_to_the_other_model(bench: Bench) -> None:
    class Silent(InMemoryBackend):
        async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
            yield Chunk()

    bench.ux = Silent("small")
    async with bench.running() as pool:
        answer = await pool.complete("ux", ask("hello"))
        assert (answer.model, answer.fell_back) == ("large", True)


# -- further models --------------------------------------------------------------------------------


async def test_a_further_model_loads_on_demand_and_answers_under_its_name(bench: Bench) -> None:
    async with bench.running() as pool:
        answer = await pool.complete("one", ask("hi"))
        assert (answer.model, answer.role, answer.fell_back) == ("one", None, False)
        assert [model.name for model in (await pool.status()).models] == ["small", "large", "one"]
        await pool.unload("one")
        assert [model.name for model in (await pool.status()).models] == ["small", "large"]
        with pytest.raises(UnknownModel, match="is loaded"):
            await pool.unload("one")
    assert bench.library.backends["one"].unloads == 1


async def test_a_further_model_that_does_not_fit_is_refused_with_figures(bench: Bench) -> None:
    bench.free = 600 * MIB
    async with bench.running() as pool:
        with pytest.raises(InsufficientMemory, match=r"needs 100 MiB.*600 MiB.*512 MiB"):
            await pool.load("one")
        assert bench.ux.unloads == bench.task.unloads == 0


async def test_the_least_recently_used_further_model_makes_room(bench: Bench) -> None:
    async with bench.running() as pool:
        await pool.load("one")
        await pool.load("two")
        await pool.complete("one", ask())
        bench.free = 600 * MIB
        two = bench.library.backends["two"]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.load, "three")
            await until(lambda: two.unloads == 1)
            bench.free = 700 * MIB
        names = [model.name for model in (await pool.status()).models]
    assert "one" in names
    assert "three" in names
    assert "two" not in names


async def test_a_busy_further_model_is_not_evicted_but_waited_for(bench: Bench) -> None:
    async with bench.running() as pool:
        busy = await pool.chat("one", ask("long answer"))
        bench.free = 600 * MIB
        with pytest.raises(DeadlineExceeded):
            await pool.load("two", 0.02)
        assert bench.library.backends["one"].unloads == 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.load, "two")
            await anyio.wait_all_tasks_blocked()
            assert await read(busy) == "long answer"
            await until(lambda: bench.library.backends["one"].unloads == 1)
            bench.free = 700 * MIB


async def test_memory_pressure_evicts_idle_further_models_and_never_a_core_one(
    bench: Bench,
) -> None:
    async with bench.running(replace(CALM, check_seconds=0.01)) as pool:
        await pool.load("one")
        busy = await pool.chat("two", ask("long answer"))
        bench.free = 10 * MIB
        await until(lambda: bench.library.backends["one"].unloads == 1)
        assert await read(busy) == "long answer"
        await until(lambda: bench.library.backends["two"].unloads == 1)
        assert (await pool.complete("ux", ask("still here"))).model == "small"
    assert bench.ux.unloads == bench.task.unloads == 0


async def test_a_further_model_that_fails_to_load_is_told_and_forgotten(bench: Bench) -> None:
    bench.library.backends["one"].inject("unavailable")
    async with bench.running() as pool:
        with pytest.raises(BackendUnavailable):
            await pool.load("one")
        bench.library.backends["one"].mend()
        await pool.load("one")
        await pool.load("one")


async def test_two_who_want_the_same_further_model_load_it_once(bench: Bench) -> None:
    async with bench.running() as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(pool.complete, "one", ask())
        tasks.start_soon(pool.complete, "one", ask())
    assert bench.library.backends["one"].loads == 1


async def test_without_a_source_there_are_no_further_models(bench: Bench) -> None:
    async with ModelPool(bench.core, policy=CALM) as pool:
        with pytest.raises(UnknownModel):
            await pool.load("one", 1)
    assert NoFurtherModels().names() == ()
    with pytest.raises(UnknownModel):
        NoFurtherModels().open("one")
    with pytest.raises(UnknownModel):
        PlainMemory().need("one")
    assert PlainMemory().available() == 0


async def test_a_pool_that_was_not_entered_says_so(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="must be entered"):
        await ModelPool(bench.core).__aexit__(None, None, None)


async def test_alternating_requests_show_what_switching_costs(bench: Bench) -> None:
    async with bench.running(warm_prompts={"ux": ("a",), "task": ("b",)}) as pool:
        for target in ("ux", "ux", "task", "ux", "task", "task"):
            await pool.complete(target, ask())
        switching = {item.role: item for item in (await pool.status()).switching}
    for item in switching.values():
        assert item.same_ms is not None
        assert item.switched_ms is not None
        assert item.reload_ms is not None


# -- the pure decisions ----------------------------------------------------------------------------

READY = Condition("ready", epoch=1)


def walk(*events: Event, begin: Condition | None = None) -> Condition:
    now = begin or Condition()
    for event in events:
        now = transition(now, event, Policy())
    return now


def test_an_early_death_is_met_at_once_three_times_and_then_slowed_down() -> None:
    now = READY
    for epoch in (1, 2, 3):
        now = walk(Broke(epoch, "killed", 0.1), begin=now)
        assert (now.state, now.attempt) == ("recovering", "recover")
        now = walk(Came(), begin=now)
    slowed = walk(Broke(4, "killed", 0.1), begin=now)
    assert (slowed.state, slowed.pause) == ("retrying", 0.5)
    assert walk(Broke(4, "killed", 60), begin=now).state == "recovering"


def test_a_failed_attempt_is_repeated_as_it_was_unless_it_hung() -> None:
    error = BackendUnavailable("gone")
    assert walk(Failed(error), RetryDue()) == replace(
        Condition(), setbacks=1, reason="gone", error=error
    )
    hung = walk(Failed(error, hung=True), RetryDue())
    assert (hung.state, hung.attempt) == ("loading", "recover")
    again = walk(Broke(1, "x", 60), Failed(error), RetryDue(), begin=READY)
    assert (again.state, again.attempt) == ("recovering", "recover")


def test_old_news_of_an_earlier_epoch_changes_nothing() -> None:
    assert walk(Broke(0, "late", 60), begin=READY) is READY


EVENTS = st.one_of(
    st.just(Came()),
    st.just(RetryDue()),
    st.builds(Failed, st.just(BackendUnavailable("gone")), st.booleans()),
    st.builds(
        Broke, st.integers(0, 5), st.just("x"), st.floats(0, 100, allow_nan=False), st.booleans()
    ),
)


@given(st.lists(EVENTS, max_size=60))
def test_a_model_is_never_given_up(events: list[Event]) -> None:
    now = walk(*events)
    assert now.state in ("loading", "ready", "recovering", "retrying")
    assert (now.pause > 0) == (now.state == "retrying")
    assert now.pause <= Policy().longest_backoff
    assert walk(RetryDue(), Came(), begin=now).state == "ready"


@given(st.lists(EVENTS, max_size=20))
def test_what_was_asked_to_go_goes(events: list[Event]) -> None:
    assert walk(UnloadAsked(), *events).state == "unloading"


@given(st.integers(1, 10_000))
def test_pauses_grow_up_to_their_limit(setbacks: int) -> None:
    policy = Policy()
    assert backoff(setbacks, policy) <= backoff(setbacks + 1, policy) <= policy.longest_backoff


def candidates() -> Iterator[Candidate]:
    for role in ("ux", "task", None):
        yield Candidate("wanted", role, "ready", usable=True)
        yield Candidate("wanted", role, "ready", usable=False)
        yield Candidate("wanted", role, "recovering", usable=False, down_for=1, expected=3)
        yield Candidate("wanted", role, "retrying", usable=False, down_for=99, expected=3)
        refusal = InsufficientMemory("no room")
        yield Candidate("wanted", role, "retrying", usable=False, refusal=refusal)


SPARE = Candidate("other", "task", "ready", usable=True)
BUSY = Candidate("other", "task", "loading", usable=False)


@pytest.mark.parametrize("wanted", list(candidates()))
@pytest.mark.parametrize("others", [(SPARE,), (BUSY,), (), (BUSY, SPARE)])
@pytest.mark.parametrize("remaining", [0.0, 1.0, 60.0, math.inf])
def test_a_choice_never_uses_what_is_not_usable_and_never_waits_in_vain(
    wanted: Candidate, others: tuple[Candidate, ...], remaining: float
) -> None:
    match choose(wanted, others, remaining=remaining):
        case Use(place, reason):
            assert (wanted, *others)[place].usable
            assert bool(reason) == (place > 0)
        case Wait(seconds):
            assert 0 < seconds <= remaining
            assert wanted.refusal is None
            assert not (wanted.role == "ux" and SPARE in others)
        case Refuse(error):
            assert error is wanted.refusal
            assert SPARE not in others


def test_work_waits_longer_for_its_model_than_talk_does() -> None:
    spare = Candidate("other", None, "ready", usable=True)

    def asked(role: Role, down_for: float) -> object:
        wanted = Candidate(
            "wanted", role, "loading", usable=False, down_for=down_for, expected=10.0
        )
        return choose(wanted, (spare,), remaining=600)

    assert asked("ux", 1) == Use(1, "wanted is loading")
    assert asked("task", 25) == Wait(15)
    assert asked("task", 41) == Use(1, "wanted is loading for 41 s")


def test_the_first_token_may_take_as_long_as_the_slowest_prefill() -> None:
    short, long = ask("hi"), ask("word " * 4000)
    assert first_token_limit(short, Policy()) < 62
    # 20,000 bytes are about 5,000 tokens, which the slow model prefills in 104 s when it is alone.
    assert first_token_limit(long, Policy()) > 60 + 104


def test_tools_and_calls_of_them_are_part_of_the_prompt() -> None:
    said = ChatRequest((Message("user", "hi"), Message("assistant", "")))
    call = {"id": "1", "function": {"name": "read", "arguments": "word " * 300}}
    called = Message("assistant", "", extra={"tool_calls": [call]})
    tools = [{"type": "function", "function": {"name": "read", "description": "word " * 600}}]
    assert estimated_tokens(replace(said, messages=(said.messages[0], called))) > 500
    offered = replace(said, options={"tools": tools})
    assert estimated_tokens(offered) > 1000
    assert first_token_limit(offered, Policy()) > first_token_limit(said, Policy()) + 60


def test_room_is_made_by_the_least_recently_used_idle_model() -> None:
    one, two = Admission("one", 100, busy=True), Admission("two", 100, busy=False)
    assert admit("new", 50, 200, 100, ()) == Load()
    assert admit("new", 100, 150, 100, (one, two)) == Evict("two")
    assert admit("new", 100, 150, 100, (one,)) == WaitForIdle()
    assert isinstance(admit("new", 500, 150, 100, (one, two)), TooLarge)


def test_a_sample_is_cold_if_most_of_its_prompt_was_computed() -> None:
    warm = Sample(0.1, 1.0, 20, first=True, usage=Usage(100, 20, 90))
    assert not warm.cold
    assert replace(warm, usage=Usage(100, 20, 10)).cold
    assert replace(warm, usage=None).cold
    assert not replace(warm, usage=None, first=False).cold
    assert warm.tokens_per_second == 19
    assert replace(warm, usage=None, chunks=11).tokens_per_second == 10
    assert replace(warm, usage=None, chunks=2).tokens_per_second is None


def test_switching_is_told_per_role_and_leaves_cold_requests_out() -> None:
    switching, stats = SwitchingStats(), ModelStats(load_seconds=2.0)
    cold = Sample(1.0, 0, 1, first=True)
    warm = Sample(0.1, 0, 1, first=False)
    requests: list[tuple[Role, Sample]] = [
        ("ux", cold),
        ("ux", warm),
        ("task", warm),
        ("ux", warm),
    ]
    for role, sample in requests:
        switched = switching.began(role)
        switching.record(role, sample, switched=switched)
        if role == "ux":
            stats.record(sample)
    found = switching.of("ux", stats)
    assert (found.same_ms, found.switched_ms, found.reload_ms) == (100, 100, 3000)
    assert switching.of("task", ModelStats()).reload_ms is None
