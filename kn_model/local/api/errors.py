"""Refusals of the Kubernetes API, raised by the store and admission, and sent as `metav1.Status` by the API.

`kn` and `kubectl` read `reason` and `details`, not the HTTP status alone: a bare 404 means to kn that Knative is
missing (knative/client `pkg/errors/factory.go`).
"""

from typing import Any, ClassVar

from kn_model.local.objects.kinds import Kind


class ApiError(Exception):
    """A refusal with the HTTP status `code` and the `reason` of metav1.StatusReason."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, kind: Kind | None = None, name: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        named = {"name": name, "group": kind.group, "kind": kind.plural} if kind else {}
        self.details = {key: value for key, value in (named | details).items() if value}

    def status(self) -> dict[str, Any]:
        """The body that a Kubernetes client expects."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


class BadRequest(ApiError):
    """The request cannot be understood."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """No known token came with the request."""

    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    """Known caller, refused: for example a foreign Host header."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """No such object or kind."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    """The path does not take this method."""

    code = 405
    reason = "MethodNotAllowed"


class AlreadyExists(ApiError):
    """An object of this name is there."""

    code = 409
    reason = "AlreadyExists"


class Conflict(ApiError):
    """The object changed since the caller read it."""

    code = 409
    reason = "Conflict"


class Gone(ApiError):
    """The watch asks for changes that are no longer remembered: list again."""

    code = 410
    reason = "Expired"


class TooLarge(ApiError):
    """The object is larger than etcd would take."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """A patch of a type that is not offered."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    """The object breaks a rule of its kind."""

    code = 422
    reason = "Invalid"


class Unavailable(ApiError):
    """The store's database does not answer."""

    code = 503
    reason = "ServiceUnavailable"


def not_found(kind: Kind, name: str) -> NotFound:
    """In the words of Kubernetes: `services.serving.knative.dev "x" not found`."""
    return NotFound(f'{kind.key} "{name}" not found', kind, name)


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    """In the words of Kubernetes."""
    return AlreadyExists(f'{kind.key} "{name}" already exists', kind, name)


def conflict(kind: Kind, name: str) -> Conflict:
    """In the words of Kubernetes."""
    return Conflict(
        f'Operation cannot be fulfilled on {kind.key} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        kind,
        name,
    )
