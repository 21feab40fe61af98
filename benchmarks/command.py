"""The commands of this folder end in one line where glt does."""

from __future__ import annotations

from typing import Any

import click

from glt.errors import GltError


class Command(click.Command):
    """A command whose :class:`~glt.errors.GltError` is one line and exit code 1, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except GltError as error:
            raise click.ClickException(str(error)) from None
