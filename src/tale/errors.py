"""One exception tree: every failure that tale itself can name.

Below everything, above nothing. A foreign error (aiohttp, SQLAlchemy, llama.cpp, ...) is mapped to
one of these at the boundary where it enters, and crosses process borders by its `code`.

    TaleError
    ├── ConfigError              the settings can't be used
    ├── DaemonError              the daemon as a whole
    │   ├── DaemonUnreachable
    │   ├── DaemonVersionMismatch
    │   └── PortInUse
    ├── WireError                a call between two processes
    │   ├── InvalidRequest       the request itself can't be understood
    │   ├── Unauthorized
    │   ├── DeadlineExceeded
    │   ├── Busy                 too many calls wait already; nothing was sent
    │   └── ServiceUnavailable   not there now; may be soon
    ├── ModelError               models and their backends
    │   ├── UnknownModel
    │   ├── ModelForbidden       the settings forbid every model that could answer
    │   ├── CoreModelPinned      a core role can't be unloaded
    │   ├── InsufficientMemory   the machine can't hold what was asked for
    │   ├── ModelFileDamaged
    │   ├── DownloadFailed
    │   ├── ContextExceeded      the prompt is larger than the model's window
    │   ├── BackendUnavailable   no process, no connection, still loading
    │   │   └── LoadFailed       its process ended before it could answer
    │   ├── BackendStalled       accepted the request and went silent
    │   └── BackendFailed        answered with an error
    │       └── BackendBroke     broke off in the middle of an answer
    ├── TaskError                tasks and conversations
    │   ├── PromptRejected
    │   │   └── PlanRejected     a plan that can't be worked on, with all that is wrong with it
    │   ├── TaskNotFound
    │   ├── SandboxUnavailable   programs can't be run safely here
    │   ├── SessionNotFound
    │   ├── NoteNotFound         nothing of that id is remembered
    │   ├── CheckpointNotFound
    │   ├── ExportRefused        a task file is damaged, newer, or hostile
    │   ├── TaskFileUnusable     no task file can be written, or read, there
    │   └── WorkspaceUnusable
    │       └── WorkspaceFull    its disk is full; nothing was written
    └── StorageError             the database or the data folder
        ├── CheckpointDamaged    what a checkpoint needs is not what was saved
        ├── StorageDamaged       the database is not what was written to it
        └── StorageReadOnly      it can be read, and not be written just now
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BackendBroke",
    "BackendFailed",
    "BackendStalled",
    "BackendUnavailable",
    "Busy",
    "CheckpointDamaged",
    "CheckpointNotFound",
    "ConfigError",
    "ContextExceeded",
    "CoreModelPinned",
    "DaemonError",
    "DaemonUnreachable",
    "DaemonVersionMismatch",
    "DeadlineExceeded",
    "DownloadFailed",
    "ExportRefused",
    "InsufficientMemory",
    "InvalidRequest",
    "LoadFailed",
    "ModelError",
    "ModelFileDamaged",
    "ModelForbidden",
    "NoteNotFound",
    "PlanRejected",
    "PortInUse",
    "PromptRejected",
    "SandboxUnavailable",
    "ServiceUnavailable",
    "SessionNotFound",
    "StorageDamaged",
    "StorageError",
    "StorageReadOnly",
    "TaleError",
    "TaskError",
    "TaskFileUnusable",
    "TaskNotFound",
    "Unauthorized",
    "UnknownModel",
    "WireError",
    "WorkspaceFull",
    "WorkspaceUnusable",
    "error_from_code",
]


class TaleError(Exception):
    """A failure with a message for the user.

    Attributes:
        message: What happened, to what.
        hint: What to do about it; empty where nothing can be done.
        code: The stable name under which the error crosses process borders.
        exit_code: What the command line exits with.
        status: The HTTP status that says the same.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(TaleError):
    """The settings can't be used; the message names file, line, key and what is allowed."""

    code = "config_error"
    exit_code = 2
    status = 400


class DaemonError(TaleError):
    """The daemon can't start, stop or answer."""

    code = "daemon_error"


class DaemonUnreachable(DaemonError):
    """No daemon answers."""

    code = "daemon_unreachable"
    exit_code = 3
    status = 503


class DaemonVersionMismatch(DaemonError):
    """The running daemon is of another version of tale."""

    code = "daemon_version_mismatch"
    exit_code = 3
    status = 409


class PortInUse(DaemonError):
    """A configured port is held by another program."""

    code = "port_in_use"


class WireError(TaleError):
    """A call between two processes failed."""

    code = "wire_error"
    status = 502


class InvalidRequest(WireError):
    """The request can't be understood; asking again doesn't help.

    Attributes:
        param: The field that is wrong, where it is one.
    """

    code = "invalid_request"
    exit_code = 2
    status = 400

    def __init__(self, message: str, *, hint: str = "", param: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class Unauthorized(WireError):
    """The bearer token is missing or wrong."""

    code = "unauthorized"
    exit_code = 3
    status = 401


class DeadlineExceeded(WireError):
    """The caller's time ran out."""

    code = "deadline_exceeded"
    status = 504


class Busy(WireError):
    """As many calls wait for the service as may; this one was not sent and may be made again."""

    code = "busy"
    status = 429


class ServiceUnavailable(WireError):
    """The service isn't there now; its supervisor is bringing it back."""

    code = "service_unavailable"
    status = 503


class ModelError(TaleError):
    """A model or its backend failed."""

    code = "model_error"


class UnknownModel(ModelError):
    """No model of that name is known."""

    code = "unknown_model"
    exit_code = 2
    status = 404


class ModelForbidden(ModelError):
    """The user's settings forbid every model that could answer."""

    code = "model_forbidden"
    exit_code = 2
    status = 403


class CoreModelPinned(ModelError):
    """A model in a core role was asked to go; it never does."""

    code = "core_model_pinned"
    status = 409


class InsufficientMemory(ModelError):
    """The machine can't hold what was asked for without swapping."""

    code = "insufficient_memory"
    status = 507


class ModelFileDamaged(ModelError):
    """A model file isn't what its catalogue entry says."""

    code = "model_file_damaged"


class DownloadFailed(ModelError):
    """A model file could not be brought to this machine."""

    code = "download_failed"


class ContextExceeded(ModelError):
    """The prompt is larger than the model's window."""

    code = "context_exceeded"
    status = 400


class BackendUnavailable(ModelError):
    """The backend has no process, no connection, or is still loading."""

    code = "backend_unavailable"
    status = 503


class LoadFailed(BackendUnavailable):
    """A model's process ended before it could answer; the message says why, if it could tell."""

    code = "load_failed"


class BackendStalled(ModelError):
    """The backend took the request and produced no token for too long."""

    code = "backend_stalled"
    status = 504


class BackendFailed(ModelError):
    """The backend answered with an error."""

    code = "backend_failed"
    status = 502


class BackendBroke(BackendFailed):
    """The backend went away in the middle of an answer; the answer can be asked for again."""

    code = "backend_broke"


class TaskError(TaleError):
    """A task or a conversation can't go on."""

    code = "task_error"
    status = 400


class PromptRejected(TaskError):
    """The text can't be taken: empty, too large, or not text."""

    code = "prompt_rejected"
    exit_code = 2


class PlanRejected(PromptRejected):
    """A plan can't be worked on.

    Attributes:
        faults: All that is wrong with it, in words; only the first crosses process borders.
    """

    code = "plan_rejected"

    def __init__(self, message: str, *, hint: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.faults = faults or (message,)


class TaskNotFound(TaskError):
    """No task has that id."""

    code = "task_not_found"
    exit_code = 2
    status = 404


class SessionNotFound(TaskError):
    """No conversation has that id."""

    code = "session_not_found"
    exit_code = 2
    status = 404


class NoteNotFound(TaskError):
    """Nothing that is remembered has that id."""

    code = "note_not_found"
    exit_code = 2
    status = 404


class SandboxUnavailable(TaskError):
    """Programs can't be run in a sandbox on this machine, and the user didn't choose otherwise."""

    code = "sandbox_unavailable"


class CheckpointNotFound(TaskError):
    """The task has no such checkpoint."""

    code = "checkpoint_not_found"
    exit_code = 2
    status = 404


class ExportRefused(TaskError):
    """A file that a task was exported to can't be taken; nothing of it was used."""

    code = "export_refused"
    exit_code = 2


class TaskFileUnusable(TaskError):
    """The file that a task is exported to can't be written, or read."""

    code = "task_file_unusable"
    exit_code = 2


class WorkspaceUnusable(TaskError):
    """The workspace folder can't be used."""

    code = "workspace_unusable"
    exit_code = 2


class WorkspaceFull(WorkspaceUnusable):
    """The workspace's disk is full: nothing was written, and it can be once there is room."""

    code = "workspace_full"


class StorageError(TaleError):
    """The database or the data folder can't be read or written."""

    code = "storage_error"


class CheckpointDamaged(StorageError):
    """Something that a checkpoint needs is missing or not what was saved; nothing was touched."""

    code = "checkpoint_damaged"


class StorageDamaged(StorageError):
    """The database file is damaged; at the next start its backup takes its place."""

    code = "storage_damaged"


class StorageReadOnly(StorageError):
    """The database can't be written just now: locked, or its disk full. What it holds is safe."""

    code = "storage_read_only"
    status = 503


def _tree(root: type[TaleError]) -> dict[str, type[TaleError]]:
    known = {root.code: root}
    for child in root.__subclasses__():
        known |= _tree(child)
    return known


_BY_CODE = _tree(TaleError)


def error_from_code(code: str, message: str, hint: str = "") -> TaleError:
    """Rebuild an error that another process reported.

    Args:
        code: The `code` of the error's class; an unknown one gives a plain `TaleError`.
        message: What happened.
        hint: What to do about it.
    """
    return _BY_CODE.get(code, TaleError)(message, hint=hint)
