"""The proof by which the front door knows the broker's own deliveries."""

import pytest

from kn_model.local.own_deliveries import NAMESPACE, PROOF, OwnDeliveries

OWN = OwnDeliveries("http://127.0.0.1:8080")


def test_a_delivery_through_our_own_door_is_known_there() -> None:
    """It carries the namespace and the proof; the door reads the namespace."""
    proof = OWN.proof("http://127.0.0.1:8080/_svc/torpor/status/events")
    assert OWN.namespace({NAMESPACE: "torpor", **proof}) == "torpor"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:80800/x",
        "http://127.0.0.1:8080@elsewhere/x",
        "http://127.0.0.1:8081/x",
        "https://127.0.0.1:8080/x",
        "http://elsewhere/http://127.0.0.1:8080/",
    ],
)
def test_the_proof_is_shown_to_nobody_else(url: str) -> None:
    """Other addresses learn the namespace alone, as from a broker on a cluster."""
    assert OWN.proof(url) == {}


@pytest.mark.parametrize("proof", [None, "", "guess", "gu\udce9ss"])
def test_a_namespace_without_the_proof_is_nobodys(proof: str | None) -> None:
    """A caller who only claims it is not believed, whatever bytes it sends; nor is another run's proof."""
    said = {NAMESPACE: "torpor"} if proof is None else {NAMESPACE: "torpor", PROOF: proof}
    other = {NAMESPACE: "torpor", **OwnDeliveries(OWN.front).proof(f"{OWN.front}/")}
    assert (OWN.namespace(said), OWN.namespace(other), "token" in repr(OWN)) == (None, None, False)
