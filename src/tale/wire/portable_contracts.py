"""The request and reply of the gateway's tools that write a task to a file, and read one back.

They name files of this machine, so they are for tale's own command line and not listed for other
MCP clients. Below: `contracts`, `tool`.
"""

from __future__ import annotations

from pydantic import Field

from tale.wire.contracts import TaskRequest, TaskView
from tale.wire.tool import Shape, Tool

__all__ = ["EXPORT", "IMPORT", "ExportReply", "ExportRequest", "ImportReply", "ImportRequest"]


class ExportRequest(TaskRequest):
    """A task, and the file for it."""

    path: str = Field(description="The file, absolute; its folder exists.")
    replace: bool = Field(
        default=False, description="Whether it may take the place of a file that is there."
    )


class ExportReply(Shape):
    """What is in the file."""

    id: str
    path: str
    bytes: int = Field(description="The file's size.")
    checkpoints: int
    files: int = Field(description="Files of the workspace that are in it.")
    omissions: int = Field(description="Files and folders that are not: ignored, or too large.")
    steps: int = Field(description="Recorded steps, which are not done again.")


class ImportRequest(Shape):
    """A file that a task was exported to."""

    path: str = Field(description="The file, absolute.")
    workspace: str | None = Field(
        default=None, description="New or empty folder for the task; one of its own if missing."
    )


class ImportReply(Shape):
    """The task as it is here now."""

    task: TaskView
    origin: str = Field(description="Its id where it comes from.")
    checkpoints: int
    files: int = Field(description="Files that its workspace holds.")
    steps: int = Field(description="Recorded steps, which are not done again.")


EXPORT = Tool(
    "gateway",
    "export",
    "Write a task that rests or has ended to one file, with its checkpoints and its workspace as "
    "it is now, so that `import` can go on with it elsewhere. The task itself is left as it is.",
    ExportRequest,
    ExportReply,
    title="Export a task to a file",
    effect="changes",
    listed=False,
)
IMPORT = Tool(
    "gateway",
    "import",
    "Take over a task from a file that `export` wrote. All of the file is checked before any of "
    "it is used. The task rests here until `resume`; the same file again gives another task.",
    ImportRequest,
    ImportReply,
    title="Import a task from a file",
    effect="adds",
    listed=False,
)
