"""The options of a run as data; their command line is tested in ``tests/fixtures/test_options.py``."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from splithorizon.run.catalogue import EVERYDAY
from splithorizon.run.options import Options


def test_a_report_has_every_option_as_a_value_of_json() -> None:
    options = Options(
        kind=Path("/bin/kind"), contexts=("east", "west"), exempt=("test_a=no zone", "test_b=slow"), requests=200
    )
    content = options.as_report()
    assert json.loads(json.dumps(content)) == content
    assert content.keys() == {field.name for field in fields(Options)}
    assert (content["kind"], content["contexts"], content["requests"]) == ("/bin/kind", "east,west", 200)
    assert content["exempt"] == "test_a=no zone,test_b=slow"
    assert content["profiles"] == ",".join(EVERYDAY)
    assert (content["kubectl"], content["keep"]) == (None, False)


@pytest.mark.parametrize(
    ("options", "outlived"),
    [
        (Options(), False),
        (Options(keep=True), True),
        (Options(reuse=True), True),
        (Options(contexts=("east", "west")), True),
        (Options(mesh=Path("mesh.json")), True),
    ],
)
def test_a_mesh_that_is_kept_or_existed_before_outlives_the_run(options: Options, outlived: bool) -> None:
    assert options.outlived is outlived
    assert replace(options, requests=200, rebuild=True).outlived is outlived
