"""What checkpoints of a workspace cost in time and space, beside full copies and git itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.report import Figure, Report, median, spread
from tale.tasks.checkpoint_history import History
from tale.tasks.snapshots.repository import Repository

__all__ = ["measure"]

_RUNS = 11
_COPIES = 2
_CHECKPOINTS = 100
_SETTLED = 0.05
"""Seconds after which a file that was written is no longer read again by the next scan."""
_GIT = shutil.which("git")


def measure(report: Report) -> None:
    """Take checkpoints of two workspaces, keep many, and go back."""
    with tempfile.TemporaryDirectory(prefix="tale-checkpoints-") as made:
        root = Path(made)
        _take(report, root / "small", files=1_000, size=20_000, reach=0.025)
        _take(report, root / "many", files=10_000, size=2_000, reach=0.150)
        _keep(report, root / "kept")


def _take(report: Report, root: Path, *, files: int, size: int, reach: float) -> None:
    """A checkpoint after 3 files changed, in turn with a full copy and with git."""
    workspace = root / "w"
    names = _workspace(workspace, files, size)
    history = History(Repository(root / "store"))
    history.take("t-1", workspace, "first")
    if _GIT:
        _git(workspace, root, "init", "-q")
        _git(workspace, root, "add", "-A")
        _git(workspace, root, "commit", "-qm", "first")
    ours: list[float] = []
    copies: list[float] = []
    git: list[float] = []
    for run in range(_RUNS):
        _change(names, run)
        time.sleep(_SETTLED)
        ours.append(_timed(lambda: history.take("t-1", workspace, "3 files changed")))
        if _GIT:
            git.append(_timed(lambda: _commit(workspace, root)))
        if run < _COPIES:
            copies.append(_copy(workspace, root / "copy"))
    what = f"checkpoint of {files:,} files, {files * size / 1e6:.0f} MB, 3 changed"
    report.add(_figure(what, ours, reach, "full copy (shutil)", copies))
    if git:
        report.add(_figure(f"{what} ...", ours, "less than git", "git add -A; git commit", git))


def _keep(report: Report, root: Path) -> None:
    """100 checkpoints, what they take, and the way back to the first."""
    workspace = root / "w"
    names = _workspace(workspace, 1_000, 20_000)
    full = sum(file.stat().st_size for file in workspace.rglob("*") if file.is_file())
    history = History(Repository(root / "store"))
    for run in range(_CHECKPOINTS):
        _change(names, run)
        history.take("t-1", workspace, f"change {run}")
    share = 100 * history.repository.bytes / (full * _CHECKPOINTS)
    what = f"store after {_CHECKPOINTS} checkpoints, of as many full copies"
    report.add(Figure(what, share, "%", "< 3 %", share < 3))
    _restore(report, history, root)
    seconds = _timed(lambda: history.repository.collect(grace=-1))
    what = f"collecting garbage of {_CHECKPOINTS} checkpoints"
    report.add(Figure(what, seconds * 1e3, "ms", "less than 2 s", seconds < 2))


def _restore(report: Report, history: History, root: Path) -> None:
    back: list[float] = []
    anew: list[float] = []
    copies: list[float] = []
    for run in range(5):
        number = 1 if run % 2 == 0 else _CHECKPOINTS
        back.append(_timed(lambda n=number: history.restore("t-1", n, root / "w")))
        place = root / f"new-{run}"
        anew.append(_timed(lambda p=place: history.restore("t-1", 1, p)))
        copies.append(_copy(place, root / "copy"))
        shutil.rmtree(place)
    for what, seconds in (("going back 99 checkpoints", back), ("restore of a lost one", anew)):
        report.add(_figure(f"{what}, 1,000 files", seconds, 1.0, "full copy", copies))


def _workspace(root: Path, files: int, size: int) -> Sequence[Path]:
    """Files of words, as compressible as source code, in folders of some 30."""
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz_"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(3000)]
    names = [root / f"d{number // 300}/s{number // 30}/f{number}.py" for number in range(files)]
    for name in names:
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(" ".join(chance.choices(words, k=size // 4))[:size])
    return names


def _change(names: Sequence[Path], run: int) -> None:
    for name in random.Random(run).sample(names, 3):
        with name.open("r+b") as file:
            file.seek(run % 1000)
            file.write(f"# change {run} {os.urandom(8).hex()}\n".encode())


def _git(workspace: Path, root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    place = [f"--git-dir={root / 'git'}", f"--work-tree={workspace}"]
    subprocess.run(["git", *identity, *place, *arguments], check=True, capture_output=True)


def _commit(workspace: Path, root: Path) -> None:
    _git(workspace, root, "add", "-A")
    _git(workspace, root, "commit", "-qm", "changed")


def _copy(workspace: Path, place: Path) -> float:
    seconds = _timed(lambda: shutil.copytree(workspace, place))
    shutil.rmtree(place)
    return seconds


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _figure(
    what: str, seconds: Sequence[float], reach: float | str, baseline: str, beside: Sequence[float]
) -> Figure:
    """A time; `reach` is in seconds, or in words where the baseline is to be beaten."""
    low, high = spread(seconds)
    limit = median(beside) if isinstance(reach, str) else reach
    return Figure(
        what,
        median(seconds) * 1e3,
        "ms",
        reach if isinstance(reach, str) else f"< {reach * 1e3:,.0f} ms",
        median(seconds) < limit,
        baseline,
        median(beside) * 1e3,
        len(seconds),
        (low * 1e3, high * 1e3),
    )
