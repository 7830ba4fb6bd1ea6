"""Trigger filters, as Knative Eventing decides them."""

from typing import Any

import pytest

from kn_model.local.eventing.filters import wanted

EVENT = {
    "empty": "",
    "id": "1",
    "source": "/torpor/download",
    "type": "dev.torpor.model.available.v1",
    "modelname": "smol",
}


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
        # attributes/filter.go: "" wants a value, and an empty one is none.
        ({"filter": {"attributes": {"empty": ""}}}, False),
        ({"filter": {"attributes": {"type": "", "modelname": "smol"}}}, True),
        # create.go: an object without a dialect is skipped, whatever stands around it.
        ({"filters": [{}]}, True),
        ({"filters": [{"exact": {}}]}, True),
        ({"filters": [{}, {"exact": {"id": "2"}}]}, False),
        ({"filters": [{"exact": {}, "prefix": {"type": "other"}}]}, False),
        ({"filters": [{"all": []}, {"any": []}]}, True),
        ({"filters": [{"any": [{}]}]}, True),
        ({"filters": [{"any": [{}, {"exact": {"id": "2"}}]}]}, False),
        # not_filter.go: a `not` of nothing says nothing, and so does its opposite.
        ({"filters": [{"not": {}}]}, True),
        ({"filters": [{"not": {"not": {}}}]}, True),
        ({"filters": [{"not": {"any": [{}]}}]}, True),
        ({"filters": [{"any": [{"exact": {"id": "2"}}, {"not": {}}]}]}, True),
        ({"filters": [{"any": [{"not": {}}, {"exact": {"id": "2"}}]}]}, False),
        ({"filters": [{"not": {"all": [{"exact": {"id": "1"}}, {"prefix": {"source": "/torpor"}}]}}]}, False),
        ({"filters": [{"all": [{"exact": {"id": "1"}}, {"any": [{"suffix": {"type": ".v2"}}]}]}]}, False),
    ],
)
def test_a_filter_decides_like_knative(spec: dict[str, Any], passes: bool) -> None:  # noqa: FBT001
    """`filters` overrides `filter`, dialects nest, every attribute of a filter has to match.

    Source: eventing 1.23 `pkg/broker/filter/filter_handler.go`, filterEvent, and `pkg/eventfilter`.
    """
    assert wanted(spec)(EVENT) == passes
