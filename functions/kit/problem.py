"""Errors that leave a function, as RFC 9457 problem details.

A problem is a class: its docstring is the title, `status` the HTTP status; `detail` belongs to the instance and says
what happened and what to do next. Raised anywhere, mapped to a response once, in `kit.app`.
Retry is two words: `Retry` (may work later, 503) and `Reject` (can never work, 400).
"""

import re
from typing import Any, ClassVar


class Problem(Exception):
    """Internal error"""

    status: ClassVar[int] = 500

    def __init__(self, detail: str = "", *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    @property
    def title(self) -> str:
        """The class's docstring: the same for every instance."""
        return (type(self).__doc__ or "").strip().splitlines()[0]

    @property
    def slug(self) -> str:
        """The class's name in kebab case; the last segment of the problem's `type`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()

    def body(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"urn:torpor:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }


class BadRequest(Problem):
    """The request cannot be understood"""

    status = 400


class Unauthorized(Problem):
    """Authentication is required"""

    status = 401

    def __init__(self, detail: str = "", **members: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="torpor"'}, **members)


class Forbidden(Problem):
    """The caller may not do this"""

    status = 403


class NotFound(Problem):
    """Nothing is here"""

    status = 404


class MethodNotAllowed(Problem):
    """The route does not take this method"""

    status = 405


class Conflict(Problem):
    """The state of the record does not allow this"""

    status = 409


class TooLarge(Problem):
    """The request is too large"""

    status = 413


class Unprocessable(Problem):
    """The request is understood and cannot be done"""

    status = 422


class TooManyRequests(Problem):
    """Too many requests"""

    status = 429


class Unavailable(Problem):
    """A dependency does not answer"""

    status = 503


class Retry(Unavailable):
    """This may work later"""

    def __init__(self, after_s: float, detail: str = "", **members: Any) -> None:
        """after_s: seconds until the next try, sent as Retry-After (whole seconds, at least 1)."""
        super().__init__(detail, headers={"Retry-After": str(max(1, round(after_s)))}, **members)


class Reject(BadRequest):
    """This can never work"""
