"""Each problem against Knative's table of retries: what may work later is delivered again, what cannot never is."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import functions
from functions.kit import problem
from functions.kit.problem import Problem

# Eventing 1.22, pkg/kncloudevents/retries.go: 5xx, 404, 408, 409 and 429 are delivered again; other 4xx, and 3xx, go
# straight to the dead letter sink.
RETRIED = {"NotFound", "Conflict", "TooManyRequests", "Unavailable", "Retry", "Problem"}
DEAD = {"BadRequest", "Reject", "Unauthorized", "Forbidden", "MethodNotAllowed", "TooLarge", "Unprocessable"}


def again(status: int) -> bool:
    """Knative's table."""
    return status >= 500 or status in {404, 408, 409, 429}


def every(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """A class of problems and all below it, wherever they are defined."""
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


@pytest.mark.parametrize("name", sorted(RETRIED | DEAD))
def test_what_knative_does_about_a_problem(name: str) -> None:
    """The table, class by class."""
    assert (name in RETRIED) == again(getattr(problem, name).status)


def test_every_class_of_the_kit_is_in_the_table() -> None:
    """A new one has to say what it means for an event."""
    here = {kind.__name__ for kind in every() if kind.__module__ == problem.__name__}
    assert RETRIED | DEAD == here


def test_every_problem_of_a_function_shares_its_kinds_fate() -> None:
    """Whatever status it has of its own, it is retried where the kit's class that it is one of is retried."""
    for module in pkgutil.walk_packages(functions.__path__, "functions."):
        if module.name.endswith(("problems", "token_routes")):
            importlib.import_module(module.name)
    kinds = [kind for kind in every() if kind.__module__.startswith("functions.") and kind is not Problem]
    assert [] == [kind.__name__ for kind in kinds if again(kind.status) != again(of_the_kit(kind).status)]


def of_the_kit(kind: type[Problem]) -> type[Problem]:
    """The nearest class of the table; a problem that is of no kind answers for itself."""
    table = (RETRIED | DEAD) - {"Problem"}
    return next((each for each in kind.__mro__ if each.__name__ in table and each.__module__ == problem.__name__), kind)


def test_only_the_two_words_say_retry_and_reject() -> None:
    """Handlers raise one of these; Retry says after how long, Reject never."""
    assert (again(problem.Retry.status), again(problem.Reject.status)) == (True, False)
    assert "2" == problem.Retry(2.2).headers["Retry-After"]
    assert {} == problem.Reject().headers
