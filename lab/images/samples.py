"""The images of a watch for a mesh that is there: ``python -m lab.images.samples HUB`` builds them.

They are the sender, and the helloworld that serves what it sends: Istio's own sample serves HTTP/1.1 alone. In clusters
that a run makes with built images they are there already.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.engine import Engine
from lab.images import command, programs, versions
from lab.images.cache import Cache
from lab.images.cache import root as cache_root
from lab.images.programs import Program
from lab.images.versions import IMAGES
from splithorizon.run.progress import Progress

_HELLOWORLDS = ("v1", "v2")


def build(engine: Engine, hub: str, progress: Progress) -> None:
    """Build the images into the engine's store, as ``<hub>/sender`` and ``<hub>/examples-helloworld-<version>``.

    Raises UsageProblem if there is no Go to compile with.
    """
    tag = versions.load().helloworld
    _build(engine, f"{hub}/sender:{tag}", programs.sender(), {}, progress)
    for version in _HELLOWORLDS:
        reference = f"{hub}/examples-helloworld-{version}:{tag}"
        _build(engine, reference, programs.helloworld(), {"SERVICE_VERSION": version}, progress)


def _build(engine: Engine, reference: str, program: Program, given: Mapping[str, str], progress: Progress) -> None:
    folder = cache_root()
    log = folder / "build.log"
    with progress.step(f"{program.name} compiled"):
        compiled = program.build(Cache(folder, progress.say), log)
    with progress.step(f"{reference} assembled"), tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        shutil.copy2(compiled / program.name, context)
        engine.build(context, IMAGES / program.name / "Containerfile", reference, given, log=log)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the images below the hub that the command line gives; return the exit status."""
    return command.run("lab.images.samples", __doc__, "the registry and folder of the images", build, arguments)


if __name__ == "__main__":
    sys.exit(main())
