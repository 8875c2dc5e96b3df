"""Commands of the server: serve, and its keys."""

import json
import logging
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import click

from nextreel.cli.console import Load


class _WithoutPandas(MetaPathFinder):
    """Lets Arrow do without pandas, which it loads as soon as it is given a list: 40 MB, for nothing here."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("the server does without pandas", name=fullname)


@click.command()
@click.option("--host", help="Address to listen at (setting serve.host).")
@click.option("--port", type=int, help="Port to listen at, 0 for any that is free (setting serve.port).")
@click.pass_obj
def serve(load: Load, host: str | None, port: int | None) -> None:
    """Serve recommendations: the current model, and every event since.

    The API's description is at /openapi.json. A version that is promoted meanwhile takes over by itself.
    """
    sys.meta_path.insert(0, _WithoutPandas())
    from nextreel.app import address_of, create_app, listen, run

    given = load(
        {name: str(value) for name, value in (("serve.host", host), ("serve.port", port)) if value is not None}
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = create_app(given)
    listening = listen(given)
    click.echo(address_of(listening))
    run(app, listening)


@click.group()
def keys() -> None:
    """Keys of the API: without any, whoever is on this machine may read and write."""


@keys.command("add")
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["read", "write", "admin"]), default="read", show_default=True, help="What it allows."
)
@click.pass_obj
def add(load: Load, name: str, role: str) -> None:
    """Make a key and print it, once: it is not kept, only its hash. A server that runs knows it within a second."""
    from nextreel.serve.keys import ROLES, add_key

    (held,) = (each for each in ROLES if each == role)
    click.echo(add_key(load().keys, name, held))


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(load: Load, as_json: bool) -> None:
    """List names, roles and ages."""
    from nextreel.serve.keys import read_keys

    found = [{"name": k.name, "role": k.role, "created_at": k.created_at} for k in read_keys(load().keys)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for key in found:
        click.echo(f"{key['name']}  {key['role']}  since {key['created_at']}")
    if not found:
        click.echo("no keys: whoever is on this machine may read and write")


@keys.command("revoke")
@click.argument("name")
@click.pass_obj
def revoke(load: Load, name: str) -> None:
    """Have a key forgotten: a server that runs refuses it within a second."""
    from nextreel.serve.keys import revoke_key

    revoke_key(load().keys, name)
