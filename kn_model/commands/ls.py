"""`kn model ls`."""

from kn_model.command import JSON, command
from kn_model.output import age, print_json, print_table, size
from kn_model.records import ModelRecord


@command("ls", examples="kn model ls\nkn model ls -o json")
def list_models(output: str) -> None:
    """List the models: what is here, what is on its way, what failed."""
    from kn_model.session import connect

    models: list[ModelRecord] = connect().items("/models", "models")
    if output == JSON:
        print_json({"models": models})
        return
    header = ("NAME", "STATUS", "SIZE", "SERVER", "AGE", "SOURCE")
    print_table(header, [row(model) for model in models])


def row(model: ModelRecord) -> tuple[str, ...]:
    """A model as a line of the table."""
    server = model["server"]["name"] if model["server"] else "-"
    return (model["name"], state(model), size(model["bytes_total"]), server, age(model["created_at"]), model["source"])


def state(model: ModelRecord) -> str:
    """The status, with how much of a download is done."""
    total = model["bytes_total"]
    if model["status"] != "downloading" or not total:
        return model["status"]
    return f"downloading {100 * model['bytes_done'] // total} %"


COMMAND = list_models
