"""A Ctrl-C ends a run as one, wherever it meets it."""

from __future__ import annotations

import pytest

from fixtures.lifecycle import pytest_keyboard_interrupt


def test_an_interrupt_at_an_instruction_without_a_line_is_shown() -> None:
    # As the interpreter compiles the entry of a generator, for one.
    lineless = compile("raise KeyboardInterrupt", "lineless", "exec").replace(co_linetable=b"")
    with pytest.raises(KeyboardInterrupt) as caught:
        exec(lineless)
    with pytest.raises(TypeError):
        caught.getrepr(funcargs=True)
    pytest_keyboard_interrupt(caught)
    assert "KeyboardInterrupt" in str(caught.getrepr(funcargs=True))
