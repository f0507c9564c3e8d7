"""Python code that lets imports fail, as of packages that nobody installed."""

from __future__ import annotations


def forbidding(*names: str) -> str:
    """One line for a ``sitecustomize.py`` or a ``.pth`` file, after which none of these packages can be imported.

    By an audit hook, and not by a finder: pytest puts one of its own before all others.
    """
    hook = (
        "def forbid(event, arguments):\n"
        "    name = arguments[0].partition('.')[0] if event == 'import' else ''\n"
        f"    if name in {set(names)!r}:\n"
        "        raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
    )
    return f"import sys; exec({hook!r}); sys.addaudithook(forbid)\n"
