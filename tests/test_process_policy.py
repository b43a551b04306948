"""The life of one supervised process, as decisions: no process, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tale.orchestration.events import (
    Announced,
    Answered,
    DependenciesReady,
    Effect,
    Event,
    Exited,
    Kill,
    LeashLost,
    Outgrown,
    Publish,
    RestartRequested,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Terminate,
    TimerElapsed,
    Unanswered,
)
from tale.orchestration.policy import Policy, describe_exit, restart_delay
from tale.orchestration.process import Process, step

POLICY = Policy(
    patience=15, start=60, settle=0.05, grace=10, stable=5, base=0.1, cap=30, intensity=5, period=10
)
URL = "http://127.0.0.1:1"


class Driver:
    """Feeds events and keeps the effects of the last one."""

    def __init__(self, jitter: float = 1.0) -> None:
        self.process = Process()
        self.effects: tuple[Effect, ...] = ()
        self.jitter = jitter
        self.pids = 100
        self.now = 0.0
        self.pace = POLICY.period  # so that no crash loop is seen where a test is not about it

    def feed(self, *events: Event) -> Driver:
        for event in events:
            self.now += self.pace
            self.process, self.effects = step(
                self.process, event, POLICY, lambda: self.jitter, self.now
            )
        return self

    def elapse(self) -> Driver:
        return self.feed(TimerElapsed(self.process.timer))

    def spawned(self) -> Driver:
        self.pids += 1
        return self.feed(StartRequested(), DependenciesReady(), Spawned(self.pids))

    def ready(self) -> Driver:
        return self.spawned().feed(Announced(URL))

    @property
    def timer(self) -> float | None:
        return next((e.seconds for e in self.effects if isinstance(e, SetTimer)), None)

    def has(self, kind: type[Effect]) -> bool:
        return any(isinstance(effect, kind) for effect in self.effects)


def test_a_wanted_process_waits_for_its_dependencies_then_is_spawned() -> None:
    driver = Driver().feed(StartRequested())
    assert driver.process.state == "waiting"
    assert not driver.has(Spawn)
    driver.feed(DependenciesReady())
    assert driver.process.state == "starting"
    assert driver.has(Spawn)
    driver.feed(Spawned(7))
    assert (driver.process.pid, driver.process.starts) == (7, 1)


def test_patience_with_missing_dependencies_ends() -> None:
    driver = Driver().feed(StartRequested())
    assert driver.timer == POLICY.patience
    assert driver.elapse().has(Spawn)


def test_an_announced_process_is_ready_and_everybody_is_told() -> None:
    driver = Driver().ready()
    assert (driver.process.state, driver.process.url) == ("ready", URL)
    assert driver.has(Publish)
    assert not driver.feed(Announced(URL)).effects
    assert driver.feed(Announced("http://127.0.0.1:2")).effects == (Publish(),)


def test_the_first_failure_is_mended_at_once_and_later_ones_after_a_growing_delay() -> None:
    driver = Driver(jitter=1.0).ready().feed(Exited(-9))
    assert driver.process.state == "waiting"
    assert driver.has(Publish)
    assert driver.process.last_exit == "killed by SIGKILL"
    delays: list[float | None] = []
    for _ in range(11):
        driver.feed(DependenciesReady(), Spawned(8), Exited(1))
        assert driver.process.state == "backoff"
        delays.append(driver.timer)
        driver.elapse()
        assert driver.process.state == "waiting"
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == POLICY.cap


def test_a_start_that_ends_before_it_is_ready_is_counted_and_told_to_everybody() -> None:
    driver = Driver().spawned().feed(Exited(65))
    assert (driver.process.failed_starts, driver.process.start_fault) == (1, "exit 65")
    assert driver.has(Publish)
    driver.feed(DependenciesReady(), SpawnFailed("no memory"))
    assert driver.process.failed_starts == 2
    assert "no memory" in driver.process.start_fault
    driver.elapse().feed(DependenciesReady(), Spawned(8)).elapse().feed(Exited(-9))
    assert driver.process.failed_starts == 3
    assert "not ready after 60 s" in driver.process.start_fault
    driver.elapse().feed(DependenciesReady(), Spawned(9), Announced(URL))
    assert (driver.process.failed_starts, driver.process.start_fault) == (3, "")
    driver.feed(Exited(1))
    assert (driver.process.failed_starts, driver.process.start_fault) == (3, "")


def test_a_stable_period_forgives_all_failures() -> None:
    driver = Driver().ready().feed(Exited(1), DependenciesReady(), Spawned(8), Announced(URL))
    assert driver.timer == POLICY.stable
    assert driver.process.failures == 1
    driver.elapse()
    assert driver.process.failures == 0
    assert driver.feed(Exited(1)).process.state == "waiting"


def test_a_process_that_is_not_ready_in_time_is_killed_and_counted_as_failed() -> None:
    driver = Driver().spawned().elapse()
    assert driver.process.state == "stopping"
    assert driver.effects == (Kill(),)
    assert not driver.feed(Announced(URL)).effects
    driver.feed(Exited(-9))
    assert driver.process.failures == 1
    assert driver.process.last_exit == "not ready after 60 s; killed by SIGKILL"


def test_a_process_that_lets_go_of_its_leash_is_ended_and_replaced() -> None:
    driver = Driver().ready().feed(LeashLost())
    assert driver.has(Terminate)
    assert driver.has(Publish)
    assert driver.feed(Exited(0)).process.state == "waiting"
    assert "let go of its line" in driver.process.last_exit


def test_a_spawn_that_fails_is_tried_again_later() -> None:
    driver = Driver().feed(StartRequested(), DependenciesReady(), SpawnFailed("no such file"))
    assert driver.process.state == "waiting"
    driver.feed(DependenciesReady(), SpawnFailed("no such file"))
    assert driver.process.state == "backoff"
    assert driver.process.last_exit == "could not be started: no such file"


def test_a_server_is_out_of_the_picture_before_it_is_asked_to_leave_and_killed_last() -> None:
    driver = Driver().ready().feed(StopRequested())
    assert (driver.process.state, driver.process.url) == ("draining", "")
    assert driver.effects == (Publish(), SetTimer(driver.process.timer, POLICY.settle))
    assert driver.elapse().effects == (Terminate(), SetTimer(driver.process.timer, POLICY.grace))
    assert driver.elapse().effects == (Kill(),)
    assert driver.feed(Exited(-9)).process.state == "stopped"


def test_what_serves_nobody_yet_is_asked_to_leave_at_once() -> None:
    driver = Driver().spawned().feed(StopRequested())
    assert driver.effects == (Terminate(), SetTimer(driver.process.timer, POLICY.grace))


def test_a_server_that_dies_while_it_drains_is_not_counted_as_failed() -> None:
    driver = Driver().ready().feed(RestartRequested(), Exited(-9))
    assert (driver.process.state, driver.process.failures) == ("waiting", 0)


def test_probes_without_an_answer_end_a_server_once_they_are_too_many_in_a_row() -> None:
    driver = Driver().ready().feed(Unanswered("silence"), Unanswered("silence"), Answered())
    assert driver.process.unanswered == 0
    driver.feed(Unanswered("silence"), Unanswered("silence"))
    assert driver.process.state == "ready"
    driver.feed(Unanswered("silence"))
    # It may be stopped: it would never see a request to leave.
    assert driver.has(Kill)
    assert driver.has(Publish)
    driver.feed(Exited(-9))
    assert driver.process.last_exit == "silence, 3 times in a row; killed by SIGKILL"
    assert (driver.process.state, driver.process.failures) == ("waiting", 1)


def test_a_server_that_never_answers_its_first_probe_is_late_and_says_why() -> None:
    driver = Driver().spawned().feed(*[Unanswered("/ can't be asked: refused")] * 9)
    assert driver.process.state == "starting"
    driver.elapse().feed(Exited(-9))
    assert "not ready after 60 s (/ can't be asked: refused)" in driver.process.last_exit


def test_a_server_that_grew_too_large_is_replaced_and_not_counted_as_failed() -> None:
    driver = Driver().ready().feed(Outgrown("grew to 900 MiB"))
    assert driver.process.state == "draining"
    driver.elapse().feed(Exited(0))
    assert (driver.process.state, driver.process.failures) == ("waiting", 0)
    assert driver.process.last_exit == "grew to 900 MiB; exit 0"


def crashed(times: int, pace: float) -> Driver:
    driver = Driver(jitter=0.0)
    driver.pace = pace / 4  # four events to a crash
    driver.feed(StartRequested())
    for _ in range(times):
        driver.feed(DependenciesReady(), Spawned(8), Exited(1)).elapse()
    return driver


def test_more_failures_than_the_intensity_are_a_crash_loop_retried_at_the_cap() -> None:
    assert not crashed(POLICY.intensity, pace=1).process.looping
    driver = crashed(POLICY.intensity + 1, pace=1)
    assert driver.process.looping
    driver.feed(DependenciesReady(), Spawned(8), Exited(1))
    assert driver.process.state == "backoff"
    assert driver.timer == POLICY.cap / 2


def test_failures_that_are_far_apart_are_no_crash_loop() -> None:
    assert not crashed(50, pace=POLICY.period / POLICY.intensity).process.looping


def test_a_crash_loop_ends_once_a_server_is_stable() -> None:
    driver = crashed(POLICY.intensity + 1, pace=0.1)
    driver.feed(DependenciesReady(), Spawned(8), Announced(URL))
    assert driver.process.looping
    assert not driver.elapse().process.looping
    driver.now += POLICY.period
    driver.feed(Exited(1))
    assert (driver.process.state, driver.process.looping) == ("waiting", False)


@pytest.mark.parametrize("kill", [False, True])
def test_the_last_word_counts_while_a_process_drains(kill: bool) -> None:
    driver = Driver().ready().feed(StopRequested(), RestartRequested(kill))
    assert driver.process.then == "waiting"
    assert driver.has(Kill) == kill
    assert driver.process.state == ("stopping" if kill else "draining")
    assert driver.feed(StopRequested()).process.then == "stopped"
    assert driver.feed(StartRequested()).process.then == "waiting"


@pytest.mark.parametrize("kill", [False, True])
def test_a_requested_restart_has_no_backoff(kill: bool) -> None:
    driver = Driver().ready().feed(Exited(1), DependenciesReady(), Spawned(8))
    driver.feed(RestartRequested(kill))
    assert driver.has(Kill if kill else Terminate)
    assert driver.feed(Exited(-15)).process.state == "waiting"
    assert driver.process.failures == 1


def test_a_restart_cuts_a_backoff_short() -> None:
    driver = Driver().spawned().feed(Exited(1), DependenciesReady(), Spawned(8), Exited(1))
    assert driver.process.state == "backoff"
    assert driver.feed(RestartRequested()).process.state == "waiting"


def test_the_last_word_counts_while_a_process_is_stopping() -> None:
    driver = Driver().ready().feed(StopRequested(), StartRequested()).elapse()
    assert (driver.process.state, driver.process.then) == ("stopping", "waiting")
    assert driver.feed(StopRequested(kill=True)).effects == (Kill(),)
    assert driver.process.then == "stopped"
    assert driver.feed(RestartRequested(kill=True)).effects == (Kill(),)
    assert driver.process.then == "waiting"


@pytest.mark.parametrize("state", ["waiting", "backoff"])
def test_what_does_not_run_is_stopped_at_once(state: str) -> None:
    driver = Driver().feed(StartRequested())
    if state == "backoff":
        driver.feed(DependenciesReady(), Spawned(1), Exited(1))
        driver.feed(DependenciesReady(), Spawned(1), Exited(1))
    assert driver.process.state == state
    assert driver.feed(StopRequested()).process.state == "stopped"


def test_a_timer_that_was_replaced_means_nothing() -> None:
    driver = Driver().spawned()
    old = driver.process.timer
    driver.feed(Announced(URL), TimerElapsed(old))
    assert driver.process.state == "ready"
    assert driver.process.timer != old


def test_exits_are_told_in_words() -> None:
    assert describe_exit(3) == "exit 3"
    assert describe_exit(-15) == "killed by SIGTERM"
    assert describe_exit(-63) == "killed by signal 63"


@given(failures=st.integers(0, 10_000), jitter=st.floats(0, 1), looping=st.booleans())
def test_a_delay_is_never_negative_nor_past_the_cap(
    failures: int, jitter: float, looping: bool
) -> None:
    delay = restart_delay(failures, POLICY, lambda: jitter, looping=looping)
    assert 0 <= delay <= POLICY.cap
    assert failures > 1 or looping or delay == 0
    assert not looping or delay >= POLICY.cap / 2


class Life(RuleBasedStateMachine):
    """Any order of events that an operating system and its users can bring about."""

    def __init__(self) -> None:
        super().__init__()
        self.process = Process()
        self.alive = False
        self.killed = False
        self.wanted = False
        self.published = ""
        self.jitter = 0.5
        self.now = 0.0

    def feed(self, event: Event) -> None:
        self.process, effects = step(self.process, event, POLICY, lambda: self.jitter, self.now)
        for effect in effects:
            match effect:
                case Spawn():
                    assert not self.alive, "two at once"
                    assert self.wanted, "started though nobody wants it"
                    self.spawning = True
                case Kill() | Terminate():
                    assert self.alive
                case SetTimer(number):
                    assert number == self.process.timer
                case Publish():
                    self.published = self.process.url

    @rule(jitter=st.floats(0, 1))
    def throw_dice(self, jitter: float) -> None:
        self.jitter = jitter

    @rule(seconds=st.floats(0, 20))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def want(self) -> None:
        self.wanted = True
        self.feed(StartRequested())

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        self.wanted = True
        self.feed(RestartRequested(kill))

    @rule(kill=st.booleans())
    def unwant(self, kill: bool) -> None:
        self.wanted = False
        self.feed(StopRequested(kill))

    @precondition(lambda self: self.process.state == "waiting")
    @rule(works=st.booleans(), early=st.booleans())
    def begin(self, works: bool, early: bool) -> None:
        self.spawning = False
        self.feed(TimerElapsed(self.process.timer) if early else DependenciesReady())
        assert self.spawning
        self.alive = works
        self.feed(Spawned(1) if works else SpawnFailed("no"))

    @precondition(lambda self: self.alive)
    @rule(port=st.integers(1, 3))
    def announce(self, port: int) -> None:
        self.feed(Announced(f"http://127.0.0.1:{port}"))

    @precondition(lambda self: self.alive)
    @rule(code=st.integers(-64, 255))
    def die(self, code: int) -> None:
        self.alive = False
        self.feed(Exited(code))

    @precondition(lambda self: self.alive)
    @rule(answered=st.booleans())
    def probe(self, answered: bool) -> None:
        self.feed(Answered() if answered else Unanswered("silence"))

    @precondition(lambda self: self.alive)
    @rule()
    def grow(self) -> None:
        self.feed(Outgrown("too much"))

    @precondition(lambda self: self.alive)
    @rule()
    def lose(self) -> None:
        self.feed(LeashLost())

    @precondition(lambda self: self.process.state != "waiting" and self.process.timer)
    @rule()
    def elapse(self) -> None:
        self.feed(TimerElapsed(self.process.timer))

    @rule(number=st.integers(0, 3))
    def elapse_late(self, number: int) -> None:
        if number != self.process.timer:
            before = self.process
            self.feed(TimerElapsed(number))
            assert self.process == before

    @invariant()
    def its_pid_is_known_exactly_while_it_lives(self) -> None:
        assert bool(self.process.pid) == self.alive
        assert self.alive == (self.process.state in ("starting", "ready", "draining", "stopping"))

    @invariant()
    def the_peers_know_the_truth(self) -> None:
        assert self.published == self.process.url
        assert bool(self.process.url) == (self.process.state == "ready")

    @invariant()
    def it_is_never_stuck(self) -> None:
        # Whatever the state, something will move it on: a timer, or an exit that is on its way.
        if self.process.state in ("waiting", "starting", "backoff", "draining"):
            assert self.process.timer
        if self.process.state in ("waiting", "starting", "backoff"):
            assert self.wanted

    @invariant()
    def what_is_wanted_comes_back(self) -> None:
        if not self.wanted:
            assert self.process.state in ("stopped", "stopping", "draining")
            return
        process = self.process
        for _ in range(5):
            if process.state in ("starting", "ready"):
                return
            event: Event = TimerElapsed(process.timer)
            if process.state == "stopping":
                event = Exited(0)
            process, _ = step(replace(process), event, POLICY, lambda: 1.0, self.now)
        raise AssertionError(process.state)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
