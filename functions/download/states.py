"""The states of a model and of a file, as tables: what is not in a table cannot happen.

`queries.sql` takes the states that allow a cause as an argument (`allowing`), so that a row changes only along these
edges. A file's row is written by whoever holds its lease; that a lease was lost counts as late.
"""

from enum import StrEnum
from typing import Final

from functions.kit.states import Machine


class ModelState(StrEnum):
    """The value of model_records.status."""

    DOWNLOADING = "downloading"
    AVAILABLE = "available"
    FAILED = "failed"
    DELETED = "deleted"


class ModelCause(StrEnum):
    """What moves a model."""

    PLANNED = "planned"  # its revision is pinned, its files are listed
    PUBLISHED = "published"  # every file is verified, the manifest is written
    REFUSED = "refused"  # the source, the plan or a check says that it can never be
    CANCELLED = "cancelled"  # a person stopped it
    RETRIED = "retried"  # a person wants it tried again
    DELETED = "deleted"  # a person deleted it


class FileState(StrEnum):
    """The value of model_files.status."""

    PENDING = "pending"
    TRANSFERRING = "transferring"
    FAILED = "failed"
    VERIFIED = "verified"


class FileCause(StrEnum):
    """What moves a file."""

    CLAIMED = "claimed"  # a worker took its lease, for the first slice or the next one
    VERIFIED = "verified"  # it is in S3 and its digest is right
    REFUSED = "refused"  # the source or its digest says that it can never be
    RESTARTED = "restarted"  # the source turned out to send another version: its bytes are dropped
    ABANDONED = "abandoned"  # its model stopped
    WAITED = "waited"  # another file brings the same bytes
    REUSED = "reused"  # its bytes are stored already
    RETRIED = "retried"  # its model is tried again


MODEL: Final = Machine(
    kind="model",
    title="A model",
    start=ModelState.DOWNLOADING,
    ends=frozenset({ModelState.DELETED}),
    back={ModelCause.RETRIED: "a person asks for it again"},
    table={
        (ModelState.DOWNLOADING, ModelCause.PLANNED): ModelState.DOWNLOADING,
        (ModelState.DOWNLOADING, ModelCause.PUBLISHED): ModelState.AVAILABLE,
        (ModelState.DOWNLOADING, ModelCause.REFUSED): ModelState.FAILED,
        (ModelState.DOWNLOADING, ModelCause.CANCELLED): ModelState.FAILED,
        (ModelState.FAILED, ModelCause.RETRIED): ModelState.DOWNLOADING,
        (ModelState.DOWNLOADING, ModelCause.DELETED): ModelState.DELETED,
        (ModelState.AVAILABLE, ModelCause.DELETED): ModelState.DELETED,
        (ModelState.FAILED, ModelCause.DELETED): ModelState.DELETED,
    },
)

FILE: Final = Machine(
    kind="file",
    title="A file of a model",
    start=FileState.PENDING,
    ends=frozenset({FileState.VERIFIED}),
    back={
        FileCause.RESTARTED: "bytes of two versions are never mixed",
        FileCause.WAITED: "the same bytes are fetched once, by one worker",
        FileCause.ABANDONED: "what is not verified counts for nothing once its model stops",
        FileCause.RETRIED: "a person asks for its model again",
    },
    table={
        (FileState.PENDING, FileCause.CLAIMED): FileState.TRANSFERRING,
        (FileState.TRANSFERRING, FileCause.CLAIMED): FileState.TRANSFERRING,
        (FileState.TRANSFERRING, FileCause.VERIFIED): FileState.VERIFIED,
        (FileState.TRANSFERRING, FileCause.RESTARTED): FileState.PENDING,
        (FileState.TRANSFERRING, FileCause.ABANDONED): FileState.PENDING,
        (FileState.TRANSFERRING, FileCause.WAITED): FileState.PENDING,
        (FileState.PENDING, FileCause.REUSED): FileState.VERIFIED,
        (FileState.PENDING, FileCause.REFUSED): FileState.FAILED,
        (FileState.TRANSFERRING, FileCause.REFUSED): FileState.FAILED,
        (FileState.FAILED, FileCause.RETRIED): FileState.PENDING,
    },
)
