"""docs/ against the code that it describes."""

import pytest

from tests.unit.generated_pages import DOCS, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    """Make the pages anew with `python -m tests.unit.generated_pages`."""
    assert PAGES[name] == (DOCS / name).read_text(encoding="utf-8")
