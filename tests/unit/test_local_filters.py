"""Trigger filters, as Knative Eventing decides them."""

from typing import Any

import pytest

from kn_model.local.eventing.filters import wanted

EVENT = {"id": "1", "source": "/torpor/download", "type": "dev.torpor.model.available.v1", "modelname": "smol"}


@pytest.mark.parametrize(
    ("spec", "passes"),
    [
        ({}, True),
        ({"filter": {"attributes": {"type": "dev.torpor.model.available.v1"}}}, True),
        ({"filter": {"attributes": {"type": "other"}}}, False),
        ({"filter": {"attributes": {"modelname": ""}}}, True),
        ({"filter": {"attributes": {"missing": ""}}}, False),
        ({"filters": [], "filter": {"attributes": {"type": "other"}}}, False),
        ({"filters": [{"exact": {"modelname": "smol"}}], "filter": {"attributes": {"type": "other"}}}, True),
        ({"filters": [{"exact": {"modelname": ""}}]}, False),
        ({"filters": [{"prefix": {"type": "dev.torpor."}}]}, True),
        ({"filters": [{"prefix": {"type": "Dev.torpor."}}]}, False),
        ({"filters": [{"prefix": {"missing": "x"}}]}, False),
        ({"filters": [{"suffix": {"type": ".v1", "source": "download"}}]}, True),
        ({"filters": [{"suffix": {"type": ".v1", "source": "serve"}}]}, False),
        ({"filters": [{"exact": {"modelname": "smol"}}, {"exact": {"id": "2"}}]}, False),
        ({"filters": [{"any": [{"exact": {"id": "2"}}, {"exact": {"id": "1"}}]}]}, True),
        ({"filters": [{"any": [{"exact": {"id": "2"}}, {"exact": {"id": "3"}}]}]}, False),
        ({"filters": [{"all": [{"exact": {"id": "1"}}, {"prefix": {"source": "/torpor"}}]}]}, True),
        ({"filters": [{"all": [{"exact": {"id": "1"}}, {"prefix": {"source": "/other"}}]}]}, False),
        ({"filters": [{"not": {"exact": {"id": "1"}}}]}, False),
        ({"filters": [{"not": {"any": [{"exact": {"id": "2"}}]}}]}, True),
    ],
)
def test_a_filter_decides_like_knative(spec: dict[str, Any], passes: bool) -> None:  # noqa: FBT001
    """`filters` overrides `filter`, dialects nest, every attribute of a filter has to match."""
    assert wanted(spec)(EVENT) == passes
