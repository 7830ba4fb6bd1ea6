"""`kn model ps`."""

from kn_model.command import JSON, command
from kn_model.output import age, print_json, print_table
from kn_model.records import ServerRecord


@command("ps", examples="kn model ps\nkn model ps -o json")
def list_servers(output: str) -> None:
    """List the servers: which run, which sleep, and where they answer."""
    from kn_model.session import connect

    servers: list[ServerRecord] = connect().items("/status", "servers")
    if output == JSON:
        print_json({"servers": servers})
        return
    header = ("NAME", "MODEL", "STATUS", "REPLICAS", "MEMORY", "AGE", "URL")
    print_table(header, [row(server) for server in servers])


def row(server: ServerRecord) -> tuple[str, ...]:
    """A server as a line of the table."""
    replicas = "-" if server["replicas"] is None else str(server["replicas"])
    memory = f"{server['memory_max_mb']} MB" if server["memory_max_mb"] else "-"
    return (
        server["name"],
        server["model_name"],
        server["status"],
        replicas,
        memory,
        age(server["created_at"]),
        server["gateway_url"] or server["endpoint"] or "-",
    )


COMMAND = list_servers
