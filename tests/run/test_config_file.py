"""What may stand in splithorizon.toml, and how it is refused: always with the file and the key."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.run import config_file
from splithorizon.run.config_file import ConfigFile, Exemption
from splithorizon.run.option_table import KEEP_CLUSTER, OPTIONS, Option

MODE = Option("mode", "one of two", default="a", choices=("a", "b"))
DECLARED = (*OPTIONS, KEEP_CLUSTER, MODE)


def read(folder: Path, text: str) -> ConfigFile:
    (folder / "splithorizon.toml").write_text(text)
    return config_file.read(folder, DECLARED)


def test_without_a_file_there_are_no_defaults(tmp_path: Path) -> None:
    assert config_file.read(tmp_path, DECLARED).defaults == {}


def test_options_have_the_names_and_types_of_the_command_line(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        'contexts = "east,west"\nkubeconfig-primary = "east.yaml"\nrequests = 500\ntimeout-scale = 2\n'
        'allow-disruption = true\nkeep-cluster = false\nmode = "b"\n',
    )
    assert found.defaults == {
        "contexts": "east,west",
        "kubeconfig-primary": Path("east.yaml"),
        "requests": 500,
        "timeout-scale": 2.0,
        "allow-disruption": True,
        "keep-cluster": False,
        "mode": "b",
    }


def test_an_exemption_has_a_reason_and_may_have_a_last_day(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        '[exempt.test_a]\nreason = "our zones are weighted"\n\n'
        '[exempt.test_b]\nreason = "corrected in 1.30.3"\nuntil = 2027-03-31\n',
    )
    assert found.exemptions == (
        Exemption("test_a", "our zones are weighted"),
        Exemption("test_b", "corrected in 1.30.3", date(2027, 3, 31)),
    )
    assert found.defaults == {
        "exempt": ["test_a=our zones are weighted", "test_b=corrected in 1.30.3 (until 2027-03-31)"]
    }


def test_an_exemption_counts_on_its_last_day_and_is_refused_on_the_next(tmp_path: Path) -> None:
    found = read(tmp_path, '[exempt.test_b]\nreason = "corrected in 1.30.3"\nuntil = 2027-03-31\n')
    found.require_current(date(2027, 3, 31))
    with pytest.raises(UsageProblem) as refused:
        found.require_current(date(2027, 4, 1))
    said = str(refused.value)
    assert said.startswith(f"{tmp_path / 'splithorizon.toml'}: the exemption of test_b ended with 2027-03-31")
    assert "corrected in 1.30.3" in said
    assert said.endswith("Nothing was created.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("request = 500\n", "request: there is no such option; known are allow-disruption, "),
        ("sweep = true\n", "sweep: there is no such option"),
        ('requests = "500"\n', "requests: '500' is no whole number"),
        ("requests = true\n", "requests: True is no whole number"),
        ("requests = 1.5\n", "requests: 1.5 is no whole number"),
        ("allow-disruption = 1\n", "allow-disruption: 1 is no true or false"),
        ('contexts = ["east", "west"]\n', "contexts: ['east', 'west'] is no text"),
        ("report-dir = 1\n", "report-dir: 1 is no path"),
        ('mode = "c"\n', "mode: 'c' is none of a, b"),
        ("requests\n", "line 1"),
        ('exempt = "test_a=why"\n', "exempt: 'test_a=why' is no table"),
        ('[exempt]\ntest_a = "why"\n', "exempt: 'why' is no table"),
        ("[exempt.test_a]\nuntil = 2027-03-31\n", "exempt: test_a: a reason is needed"),
        ('[exempt.test_a]\nreason = " "\n', "exempt: test_a: a reason is needed"),
        ('[exempt.test_a]\nreason = "why"\nuntil = "soon"\n', "exempt: test_a: until is a date"),
        ('[exempt.test_a]\nreason = "why"\nuntil = 2027-03-31T00:00:00\n', "exempt: test_a: until is a date"),
        (
            '[exempt.test_a]\nreason = "why"\nuntill = 2027-03-31\n',
            "exempt: test_a: untill is neither reason nor until",
        ),
    ],
)
def test_what_it_cannot_hold_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'splithorizon.toml'}: ")
    assert said in str(refused.value)
    assert str(refused.value).endswith("Nothing was created.")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "splithorizon.toml").mkdir()
    with pytest.raises(UsageProblem, match="Nothing was created"):
        config_file.read(tmp_path, DECLARED)
