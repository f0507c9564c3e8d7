"""kind's network stays while a run is about to use it, and is removed by the last run that used it."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.engine import network
from splithorizon.base import timeouts
from splithorizon.base.errors import CommandFailed
from splithorizon.base.file_lock import locked
from tests.support.fake_podman import FakePodman


@pytest.fixture
def fake(tmp_path: Path) -> FakePodman:
    return FakePodman(tmp_path / "engine")


def test_the_network_exists_within_the_block_and_after_it(fake: FakePodman) -> None:
    with network.approached(fake.engine):
        assert fake.names("networks") == {"kind"}
    assert fake.names("networks") == {"kind"}


def test_a_network_that_a_run_is_about_to_use_is_not_removed(fake: FakePodman) -> None:
    with network.approached(fake.engine), network.approached(fake.engine):
        network.remove(fake.engine, "kind")
        assert fake.names("networks") == {"kind"}
    network.remove(fake.engine, "kind")
    assert fake.names("networks") == set()


def test_a_network_with_a_container_on_it_is_not_removed(fake: FakePodman) -> None:
    with network.approached(fake.engine):
        fake.start("node", "kind")
    network.remove(fake.engine, "kind")
    assert fake.names("networks") == {"kind"}


def test_removing_waits_while_another_run_removes(fake: FakePodman, monkeypatch: pytest.MonkeyPatch) -> None:
    with network.approached(fake.engine):
        pass
    refused = threading.Event()

    @contextmanager
    def observed(path: Path, how: int) -> Iterator[None]:
        try:
            with locked(path, how):
                yield
        except BlockingIOError:
            if how & fcntl.LOCK_SH:
                refused.set()
            raise

    monkeypatch.setattr(network, "locked", observed)
    remover = threading.Thread(target=network.remove, args=(fake.engine, "kind"))
    with locked(fake.engine.command, fcntl.LOCK_EX):
        remover.start()
        assert refused.wait(30)
        assert fake.names("networks") == {"kind"}
    remover.join(30)
    assert fake.names("networks") == set()


def test_a_removal_that_never_gets_its_turn_ends(fake: FakePodman) -> None:
    with network.approached(fake.engine):
        pass
    with locked(fake.engine.command, fcntl.LOCK_EX), timeouts.shortened(0.001):
        network.remove(fake.engine, "kind")
    assert fake.names("networks") == {"kind"}


def test_a_network_that_cannot_be_created_ends_the_block_before_it_begins(fake: FakePodman) -> None:
    fake.engine.command.write_text("#!/bin/sh\necho 'Error: no space left' >&2\nexit 125\n")
    with pytest.raises(CommandFailed, match="no space left"), network.approached(fake.engine):
        pytest.fail("there is no network")
