"""Why serve refuses. Raised by planning and by the routes, mapped to problem documents by the kit."""

from functions.kit.problem import BadRequest, Conflict, Forbidden, NotFound, Unprocessable


class ModelNotFound(NotFound):
    """Model not found"""


class ServerNotFound(NotFound):
    """Server not found"""


class ModelNotAvailable(Conflict):
    """The model is not available"""


class NameTaken(Conflict):
    """The name is taken"""


class RolloutUnderWay(Conflict):
    """A rollout is under way"""


class NoRollout(Conflict):
    """No rollout is under way"""


class NotNow(Conflict):
    """The rollout cannot do this now"""


class ClusterLimit(Unprocessable):
    """The cluster does not allow it"""


class NotPinned(Unprocessable):
    """The image is not pinned"""


class DoesNotFit(Unprocessable):
    """The model does not fit the memory asked for"""


class UnknownRuntime(Unprocessable):
    """The runtime is not known"""


class UnknownGpu(Unprocessable):
    """The GPU is not known"""


class NoRuntime(Unprocessable):
    """No runtime serves this model"""


class BadParameter(Unprocessable):
    """The parameter is not allowed"""


class BadName(BadRequest):
    """The name cannot be used"""


class BadSpec(BadRequest):
    """The resource's spec cannot be served"""


class InvalidToken(Forbidden):
    """The resource's token is not valid"""


class NotAllowed(Forbidden):
    """Whoever asks may not"""
