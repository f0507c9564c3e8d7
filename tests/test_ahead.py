"""Both clusters are looked at at once, and each is told of in its own tests."""

from __future__ import annotations

from concurrent.futures import TimeoutError as NotYetDone
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from fixtures.ahead import begun_at_once
from splithorizon.errors import EnvironmentBroke
from splithorizon.mesh.model import Mesh
from splithorizon.topology import Role
from splithorizon.turns import Turns
from tests.test_facts import facts


def test_both_are_looked_at_at_once_and_what_goes_wrong_with_one_is_its_own(tmp_path: Path) -> None:
    both = Barrier(len(Role), timeout=30)

    def look(role: Role) -> str:
        both.wait()
        if role is Role.REMOTE:
            raise EnvironmentBroke("its API server is away")
        return f"the {role}"

    with begun_at_once(Mesh(facts(tmp_path)), look, list(Role)) as begun:
        assert begun[Role.PRIMARY].result() == "the primary"
        with pytest.raises(EnvironmentBroke, match="API server is away"):
            begun[Role.REMOTE].result()


def test_nobody_looks_while_the_mesh_is_changed(tmp_path: Path) -> None:
    mesh = Mesh(facts(tmp_path))
    with ExitStack() as end:
        with Turns.of(mesh.facts).changing():
            begun = end.enter_context(begun_at_once(mesh, str, [Role.PRIMARY]))
            with pytest.raises(NotYetDone):
                begun[Role.PRIMARY].result(0.3)
        assert begun[Role.PRIMARY].result() == "primary"
