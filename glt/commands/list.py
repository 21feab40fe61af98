"""glt list."""

from __future__ import annotations

import json
from typing import Any

import click

from glt.errors import GltError, unknown
from glt.registry import FAMILIES, get, names, options


@click.command("list")
@click.argument("family", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def list_(family: str | None, as_json: bool) -> None:
    """Show every registered piece with its options and source.

    FAMILY is one of datasets, scorers, pruners, granularities, schedules, backbones, batches, strategies, controls,
    kernels; all without it. Or it is layers: which of PyG's layers can be soft-masked, as ugs and others do.
    """
    if family not in (None, "layers", *FAMILIES):
        raise GltError(unknown("family", family, ("layers", *FAMILIES)))
    families = [family] if family else [*FAMILIES, "layers"]
    tree: dict[str, dict[str, Any]] = {
        f: _layers()
        if f == "layers"
        else {
            name: {
                "about": " ".join((get(f, name).__doc__ or "").split("\n\n")[0].split()),
                "options": [vars(option) for option in options(get(f, name))],
            }
            for name in names(f)
        }
        for f in families
    }
    if as_json:
        click.echo(json.dumps(tree, default=str))
        return
    for f, entries in tree.items():
        click.secho(f, bold=True)
        for name, entry in entries.items():
            click.echo(f"  {click.style(name, fg='cyan')}  {entry['about']}")
            for option in entry.get("options", ()):
                click.echo(f"      {option['name']} = {_shown(option['default'])}  ({option['type']}) {option['help']}")


def _layers() -> dict[str, dict[str, Any]]:
    from glt.layers import soft_masks

    return {
        name: {"about": ("soft masks: " if found.works else "no soft masks: ") + found.about, "soft_masks": found.works}
        for name, found in soft_masks().items()
    }


def _shown(default: object) -> str:
    return str(getattr(default, "name", default))
