"""Renders the templates of pages: escaped without exception, with one style sheet that the page's policy allows."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "templates"

# Control characters, and those that change the direction of text: they show as something that is not there.
_CONTROLS = (*range(9), 11, 12, *range(14, 32), *range(127, 160))
_DIRECTIONS = (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE = dict.fromkeys((*_CONTROLS, *_DIRECTIONS), "�")


def render(name: str, *, folder: Path = FOLDER, **content: object) -> str:
    """The page of a template of a folder, with ``policy`` and ``style`` added to its content."""
    return _environment(folder).get_template(name).render(policy=policy(), style=_style(), **content)


def policy() -> str:
    """The page's Content-Security-Policy: nothing but its own style sheet."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _style() -> str:
    return (FOLDER / "page.css").read_text(encoding="utf-8")


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )


def _visible(value: object) -> object:
    # What is no plain text, as the output of a macro, is of the template.
    return value.translate(_INVISIBLE) if type(value) is str else value
