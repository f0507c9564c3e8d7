"""The command line of a module that builds images for use elsewhere."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.engine import Engine
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.run.progress import Progress

Build = Callable[[Engine, str, Progress], None]


def run(module: str, description: str | None, name: str, build: Build, arguments: Sequence[str] | None) -> int:
    """Call ``build`` with the engine and the name that the command line gives; return the exit status.

    ``name`` says what that name is.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("name", help=name)
    parser.add_argument("--provider", choices=("docker", "podman"), default="podman", help="the container engine")
    asked = parser.parse_args(arguments)
    progress = Progress(print)
    try:
        command = shutil.which(asked.provider)
        if command is None:
            raise UsageProblem(f"there is no {asked.provider} on PATH. Nothing was created.")
        # That it runs no privileged container, which clusters need, is no matter here.
        build(Engine(asked.provider, Path(command), {}, lacks_resource_capability=False), asked.name, progress)
    except (EnvironmentBroke, UsageProblem) as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        progress.close()
    return 0
