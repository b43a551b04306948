"""One GGUF model in one process: llama.cpp's own server with an OpenAI API.

    python -m tale.models.llama_server --model FILE --alias NAME --context N --slots N …

Started by the supervisor (on the models server's request) with a leash as standard input: it loads,
restores its prompt caches, says where it serves, and stays until SIGTERM or until the supervisor is
gone. No request passes through Python here. With `--standalone` it runs without a supervisor, for
benchmarks, and prints its address.

Exit codes: 0 stopped, 65 (EX_DATAERR) the model file is missing or damaged, 70 (EX_SOFTWARE) it
can't serve for another reason. The reason goes to the supervisor, and to standard error.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.abc

from tale.errors import (
    BackendUnavailable,
    LoadFailed,
    ModelError,
    ModelFileDamaged,
    ServiceUnavailable,
    TaleError,
)
from tale.models.gguf import read_gguf
from tale.models.llama_slots import HttpSlots, SavedSlots, cache_stem
from tale.models.tuning import SPIN_COUNT
from tale.telemetry import configure_logging, get_logger, name_process
from tale.wire.child import Leash, die_with_parent

__all__ = ["EXIT_DAMAGED", "EXIT_LOAD_FAILED", "LaunchOptions", "main"]

log = get_logger("tale.models.llama_server")

EXIT_DAMAGED: Final = 65  # sysexits.h: EX_DATAERR
EXIT_LOAD_FAILED: Final = 70  # EX_SOFTWARE

# Imported late, because of libgomp's environment, and without types, of which it has none.
_LLAMA: Final = "xllamacpp"
# llama.cpp tells of its progress once a batch: at 2048, its default, a long prompt on two cores
# would be silent for 40 s and look like a hang. Its micro-batch, which sets the speed, is 512.
_BATCH_TOKENS: Final = 512
# A request's default. Without it the 1.5B, decoding greedily, wrote test cases until its tokens ran
# out in 2 of 3 small tasks; at 1.05 in none. Qwen's own generation settings have 1.1, at which it
# left the tests out of one.
_REPEAT_PENALTY: Final = 1.05
_ERRORS: Final = 1  # llama.cpp's verbosity; 2, warnings, has two lines for each pulse
_SAVE_SECONDS: Final = 2.0
_SAVE_SECONDS_ALONE: Final = 0.5  # without a supervisor nobody waits for us any more
_UNLOAD_SECONDS: Final = 3


class _Server(Protocol):
    """A running llama.cpp server; it stops when the last reference goes."""

    @property
    def listening_address(self) -> str:
        """Its base URL."""
        ...


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What a model's process is told; the command line in both directions.

    Attributes:
        model: The GGUF file.
        alias: The model's name in answers.
        context: Tokens of each slot.
        slots: Requests generated side by side.
        threads: Threads that decode.
        batch_threads: Threads that compute prompts.
        nice: Niceness, 0 to 19.
        slot_dir: Parent of the saved prompt caches; each process has its own folder in it. None
            saves nothing.
        prompt_cache_mib: Host memory for prefixes that no slot holds; 0 for none.
    """

    model: Path
    alias: str
    context: int
    slots: int
    threads: int
    batch_threads: int
    nice: int
    slot_dir: Path | None
    prompt_cache_mib: int = 512

    def arguments(self) -> list[str]:
        """Write the command line that gives these options."""
        return [
            f"--model={self.model}",
            f"--alias={self.alias}",
            f"--context={self.context}",
            f"--slots={self.slots}",
            f"--threads={self.threads}",
            f"--batch-threads={self.batch_threads}",
            f"--nice={self.nice}",
            f"--prompt-cache={self.prompt_cache_mib}",
            *([f"--slot-dir={self.slot_dir}"] if self.slot_dir else []),
        ]

    @classmethod
    def parse(cls, arguments: argparse.Namespace) -> LaunchOptions:
        """Take the options out of a parsed command line."""
        return cls(
            model=arguments.model,
            alias=arguments.alias or arguments.model.stem,
            context=arguments.context,
            slots=arguments.slots,
            threads=arguments.threads,
            batch_threads=arguments.batch_threads or arguments.threads,
            nice=arguments.nice,
            slot_dir=arguments.slot_dir,
            prompt_cache_mib=arguments.prompt_cache,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one model until told to stop; gives the process's exit code."""
    parsed = _parser().parse_args(arguments)
    options = LaunchOptions.parse(parsed)
    configure_logging()
    # libgomp reads it when xllamacpp brings it in, which is after this.
    os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    _be_nice(options.nice)
    name_process(f"model {options.alias}")
    try:
        if not parsed.standalone:
            die_with_parent()
        anyio.run(_serve, options, parsed.port if parsed.standalone else None)
    except TaleError as error:
        # The process's last word, on a line of its own: llama.cpp's logger may be within one.
        sys.stderr.write(f"\n{error.code}: {error}\n")
        return EXIT_DAMAGED if isinstance(error, ModelFileDamaged) else EXIT_LOAD_FAILED
    return 0


async def _serve(options: LaunchOptions, port: int | None) -> None:
    """Load, serve and save; on a leash, or without one at `port`."""
    leash = await Leash.connect() if port is None else None
    name, token = (leash.name, leash.token) if leash else (options.alias, "")
    folder = options.slot_dir / name if options.slot_dir else None
    try:
        server = _load(options, token, port or 0, folder)
    except ModelError as error:
        if leash:
            with suppress(ServiceUnavailable):  # gone meanwhile
                await leash.failed(error)
        raise
    url = server.listening_address
    api = HttpSlots(url, token)
    saved = _saved_slots(options, folder)
    if saved:
        await saved.restore(api)
    stop = anyio.Event()
    seconds = _SAVE_SECONDS

    def gone() -> None:
        nonlocal seconds
        seconds = _SAVE_SECONDS_ALONE
        stop.set()

    async with anyio.create_task_group() as group:
        await group.start(_watch_signals, stop)
        if leash:
            group.start_soon(leash.run, gone)
            # Gone during the load: `run` sees it and ends this.
            with suppress(ServiceUnavailable):
                await leash.ready(url)
        else:
            print(url, flush=True)  # noqa: T201 - the contract of --standalone
        log.info("model.ready", model=options.alias, url=url)
        if saved:
            group.start_soon(saved.save_first, api)
        await stop.wait()
        group.cancel_scope.cancel()
    if saved:
        # A slot in the middle of an answer can't be saved before its end: bounded, then given up.
        with anyio.move_on_after(seconds, shield=True) as saving:
            await saved.save(api)
        if saving.cancelled_caught:
            log.info("model.left_busy", model=options.alias)
            sys.stderr.flush()
            # llama.cpp would finish the answer before it lets go, with the interpreter held.
            os._exit(0)
    _go_within(_UNLOAD_SECONDS)
    del server


async def _watch_signals(
    stop: anyio.Event, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    # Until here the defaults held: a process that has nothing to save yet just goes.
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()


def _load(options: LaunchOptions, token: str, port: int, folder: Path | None) -> _Server:
    """Load the model; blocks, with the interpreter's lock held, until it can answer.

    Raises:
        ModelFileDamaged: The file is missing or not what llama.cpp can read.
        LoadFailed: llama.cpp refuses it: no memory, damage that the header doesn't show, an
            unknown architecture, a port in use.
        BackendUnavailable: llama.cpp itself can't be loaded.
    """
    try:
        llama = import_module(_LLAMA)
    except ImportError as error:
        raise BackendUnavailable(
            f"llama.cpp can't be loaded: {error}.",
            hint="On Debian it needs libgomp1: apt-get install libgomp1.",
        ) from error
    params = llama.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.api_keys = [token] if token else []
    params.cors_origins = ""
    params.n_ctx = options.context * options.slots
    params.n_parallel = options.slots
    params.n_batch = _BATCH_TOKENS
    # Else the file is read twice, to fit layers to a GPU's memory; the plan was made before.
    params.fit_params = False
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.batch_threads
    params.cache_prompt = True
    params.cache_ram_mib = options.prompt_cache_mib
    params.slot_save_path = f"{folder}{os.sep}" if folder else ""
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.endpoint_props = True
    params.sampling.penalty_repeat = _REPEAT_PENALTY
    params.ui = False
    params.use_jinja = True
    params.warmup = True
    params.verbosity = _ERRORS
    try:
        return llama.Server(params)
    except RuntimeError as error:
        raise _diagnose(options.model) from error


def _diagnose(model: Path) -> ModelError:
    """Find out why llama.cpp refused; it says so on standard error only, and raises one message."""
    try:
        info = read_gguf(model)
    except ModelFileDamaged as damaged:
        return damaged
    except OSError as unreadable:
        return ModelFileDamaged(
            f"{model} can't be read: {unreadable.strerror or unreadable}.",
            hint="Fetch it: `tale models pull`.",
        )
    return LoadFailed(
        f"llama.cpp refuses {model} ({info.architecture}).",
        hint="`tale logs` has its own words: too little memory, damage, or a kind it doesn't know.",
    )


def _saved_slots(options: LaunchOptions, folder: Path | None) -> SavedSlots | None:
    if folder is None:
        return None
    build = str(import_module(_LLAMA).__version__)
    stem = cache_stem(options.alias, options.model, build, options.context, options.slots)
    return SavedSlots(folder, stem, options.slots)


def _be_nice(nice: int) -> None:
    """Set the niceness, whatever it was inherited as.

    Where the kernel groups processes by session (sched(7), autogroup), that of a process counts
    only within its group; a model's process leads its own, so the group gets the same.
    """
    if hasattr(os, "getsid") and os.getsid(0) == os.getpid():
        with suppress(OSError):  # no such groups here, or it can't go back up
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:  # lower than inherited: the model is slower, not wrong
        log.warning("model.niceness_refused", wanted=nice, has=os.getpriority(os.PRIO_PROCESS, 0))


def _go_within(seconds: int) -> None:
    """Have the kernel end this process if llama.cpp, holding the interpreter, doesn't let go."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tale.models.llama_server",
        description="Serve one GGUF model with llama.cpp's OpenAI API, on loopback.",
    )
    whole = partial(parser.add_argument, type=int)
    parser.add_argument("--model", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--alias", default="", help="the model's name in answers")
    whole("--context", default=8192, help="tokens of context for each slot")
    whole("--slots", default=1, help="requests generated side by side")
    whole("--threads", default=2, help="threads that decode")
    whole("--batch-threads", default=0, help="threads that compute prompts; 0: as --threads")
    whole("--nice", default=0, help="niceness, 0 to 19")
    whole("--prompt-cache", default=512, help="MiB of host memory for prompt prefixes; 0: none")
    parser.add_argument("--slot-dir", type=Path, help="folder in which prompt caches are saved")
    parser.add_argument("--standalone", action="store_true", help="no supervisor; print the URL")
    whole("--port", default=0, help="loopback port with --standalone; 0: any free one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
