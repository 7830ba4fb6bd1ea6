"""What can go wrong with a source, in the two words of retry, and the problems that callers of the API see."""

from functions.download.states import FileCause
from functions.kit.problem import Conflict, NotFound, Unprocessable


class SourceRefused(Exception):
    """Permanent: asking again cannot help. code is for programs, the message for people and names the next step."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SourceChanged(Exception):
    """The source sends another version than the pinned one: this file starts anew, its bytes are never mixed."""


class ProgressLost(SourceChanged):
    """What was kept of this file is gone or of no use, though the source is the same: it starts anew."""


class SourceUnwell(Exception):
    """Temporary: the source does not answer, stalls, cuts, or asks for patience (after_s seconds)."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class LeaseLost(Exception):
    """The file is no longer this worker's: cancelled, deleted, failed, or taken over after a silence.

    cause: what the worker was about to do to it.
    """

    def __init__(self, cause: FileCause) -> None:
        super().__init__(cause)
        self.cause = cause


class ModelNotFound(NotFound):
    """No such model"""


class ModelNameAmbiguous(Conflict):
    """Several models have this name"""


class ModelInUse(Conflict):
    """The model is being served"""


class IllegalTransition(Conflict):
    """The model's state does not allow this"""


class SourceInvalid(Unprocessable):
    """The source cannot be used"""


class FileLeased(Conflict):
    """Another worker is transferring this file"""
