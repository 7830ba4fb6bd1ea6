"""`kn model keys`."""

from typing import Any
from urllib.parse import quote

import click

from kn_model.command import JSON, ModelCommand
from kn_model.output import age, print_json, print_table

EXAMPLES = """
kn model keys create ci
kn model keys create notebook --model smollm2-135m-instruct --days 30 -o json
"""


@click.group("keys")
def keys() -> None:
    """Create, list and revoke API keys: credentials for programs, limited to models and actions."""


@keys.command("create", cls=ModelCommand, examples=EXAMPLES)
@click.argument("name")
@click.option("--model", "models", multiple=True, help="A model that it may use; repeatable.  [default: all]")
@click.option("--action", "actions", multiple=True, help="What it may do: infer, read, operate.  [default: infer]")
@click.option("--days", type=int, default=90, help="Days until it expires.", show_default=True)
def create(name: str, models: tuple[str, ...], actions: tuple[str, ...], days: int, output: str) -> None:
    """Create a key called NAME. It is shown this once and stored only as a digest."""
    from kn_model.session import connect

    wanted = {"name": name, "models": list(models) or ["*"], "actions": list(actions) or ["infer"]}
    key: dict[str, Any] = connect().post("/auth/keys", {**wanted, "expires_in_days": days})
    if output == JSON:
        print_json(key)
        return
    click.echo(key["key"])
    click.echo(f"Keep it: it is not shown again. Revoke it with: kn model keys rm {key['id']}", err=True)


@keys.command("ls", cls=ModelCommand, examples="kn model keys ls")
def list_keys(output: str) -> None:
    """List your keys, without their secrets."""
    from kn_model.session import connect

    found: dict[str, list[dict[str, Any]]] = connect().get("/auth/keys")
    if output == JSON:
        print_json(found)
        return
    print_table(("ID", "NAME", "MODELS", "ACTIONS", "AGE", "EXPIRES"), [_row(key) for key in found["keys"]])


@keys.command("rm", cls=ModelCommand, examples="kn model keys rm 3fQ9xY2a")
@click.argument("key_id")
def revoke(key_id: str, output: str) -> None:
    """Revoke a key; within half a minute nobody takes it any more."""
    from kn_model.session import connect

    connect().delete(f"/auth/keys/{quote(key_id, safe='')}")
    if output == JSON:
        print_json({"revoked": key_id})
    else:
        click.echo(f"Revoked {key_id}.")


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    state = "revoked" if key.get("revoked_at") else (key.get("expires_at") or "never")
    return (
        key["id"],
        key["name"],
        ",".join(key["models"]),
        ",".join(key["actions"]),
        age(key.get("created_at")),
        state,
    )


COMMAND = keys
