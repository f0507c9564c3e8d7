"""Many look at a mesh at once, and one changes it alone: between processes and within one."""

from __future__ import annotations

import threading
from pathlib import Path

from splithorizon.mesh.locks import MeshLock
from splithorizon.traffic.sending import sending
from tests.support.child_python import line_of, running

HOLDER = """
import sys, time
from pathlib import Path
from splithorizon.mesh.locks import MeshLock
from splithorizon.traffic.sending import sending
with getattr(MeshLock(Path(sys.argv[1])), sys.argv[2])():
    print("has it", flush=True)
    time.sleep(600)
"""


def test_many_look_at_once(tmp_path: Path) -> None:
    file = tmp_path / "turns"
    with running(HOLDER, str(file), "shared") as one:
        assert line_of(one) == "has it"
        with MeshLock(file).shared(), MeshLock(file).shared():
            pass


def test_who_changes_is_alone_and_gives_way_when_killed(tmp_path: Path) -> None:
    turns = MeshLock(tmp_path / "turns")
    order: list[str] = []

    def look() -> None:
        with turns.shared():
            order.append("looked")

    with running(HOLDER, str(turns.file), "exclusive") as changing:
        assert line_of(changing) == "has it"
        waiting = threading.Thread(target=look)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "it looked while another changed"
        order.append("killed")
        changing.kill()
        waiting.join(30)
    assert order == ["killed", "looked"]


def test_a_change_waits_for_who_looks(tmp_path: Path) -> None:
    turns = MeshLock(tmp_path / "turns")
    order: list[str] = []

    def change() -> None:
        with turns.exclusive():
            order.append("changed")

    with turns.shared():
        waiting = threading.Thread(target=change)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "it changed while another looked"
        order.append("looked")
    waiting.join(30)
    assert order == ["looked", "changed"]


SENDER = """
import sys, time
from pathlib import Path
from splithorizon.traffic.sending import sending
with sending(Path(sys.argv[1])):
    print("sends", flush=True)
    time.sleep(600)
"""


def test_one_client_sends_one_batch_at_a_time_and_another_client_its_own(tmp_path: Path) -> None:
    near, far = tmp_path / "primary.kubeconfig", tmp_path / "remote.kubeconfig"
    order: list[str] = []

    def send() -> None:
        with sending(near):
            order.append("sent")

    with running(SENDER, str(near)) as other:
        assert line_of(other) == "sends"
        with sending(far):
            order.append("the other client sent")
        waiting = threading.Thread(target=send)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "two batches met"
        other.kill()
        waiting.join(30)
    assert order == ["the other client sent", "sent"]
    assert not near.exists(), "the lock is a file of its own"
