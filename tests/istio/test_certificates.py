"""A certificate is trusted only if every issuer up to the root is valid and may sign certificates."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from splithorizon.istio import certificates
from splithorizon.istio.certificates import NO_ROOT, Key, new_key, trust_problem

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Issuer:
    """An authority as a test wants it: valid on which days from now, an authority or not, what its key may do."""

    days: tuple[int, int] = (-9, 9)
    authority: bool | None = True
    signs: bool | None = None
    path_length: int | None = None
    common: str = "made by a test"
    key: Key = field(default_factory=new_key)

    @property
    def name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.common)])

    def signed_by(self, issuer: x509.Name, key: Key) -> x509.Certificate:
        begins, ends = (NOW + timedelta(days=days) for days in self.days)
        made = x509.CertificateBuilder(issuer, self.name, self.key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
        if self.authority is not None:
            made = made.add_extension(x509.BasicConstraints(self.authority, self.path_length), critical=True)
        if self.signs is not None:
            usage = x509.KeyUsage(True, False, False, False, False, self.signs, False, False, False)
            made = made.add_extension(usage, critical=True)
        return made.sign(key, hashes.SHA256())

    @property
    def as_root(self) -> x509.Certificate:
        return self.signed_by(self.name, self.key)


def leaf_of(issuer: Issuer) -> x509.Certificate:
    return certificates.workload("spiffe://x/ns/a/sa/b", new_key(), issuer=issuer.name, issuer_key=issuer.key)


ROOT = Issuer(common="root")


def problem_over(intermediate: Issuer, root: Issuer = ROOT) -> str:
    chain = [intermediate.signed_by(root.name, root.key)]
    return trust_problem(leaf_of(intermediate), chain, [root.as_root])


@pytest.mark.parametrize(
    "intermediate",
    [Issuer(), Issuer(signs=True), Issuer(path_length=0), Issuer(days=(-1, 1))],
    ids=["plain", "may sign", "none below", "for two days"],
)
def test_a_valid_intermediate_leads_to_the_root(intermediate: Issuer) -> None:
    assert problem_over(intermediate) == ""


@pytest.mark.parametrize(
    ("intermediate", "problem"),
    [
        (Issuer(days=(-9, -2)), "the intermediate CN=made by a test expired at"),
        (Issuer(days=(2, 9)), "the intermediate CN=made by a test is not valid before"),
        (Issuer(authority=False), "the intermediate CN=made by a test may not sign certificates: it is no CA"),
        (Issuer(authority=None), "the intermediate CN=made by a test may not sign certificates: it is no CA"),
        (Issuer(signs=False), "the intermediate CN=made by a test may not sign certificates"),
    ],
    ids=["expired", "not valid yet", "no CA", "says nothing", "key usage"],
)
def test_a_wrong_intermediate_is_named(intermediate: Issuer, problem: str) -> None:
    assert problem_over(intermediate).startswith(problem)


@pytest.mark.parametrize(
    ("root", "problem"),
    [
        (Issuer(days=(-9, -2)), "the root CN=made by a test expired at"),
        (Issuer(days=(2, 9)), "the root CN=made by a test is not valid before"),
        (Issuer(authority=False), "the root CN=made by a test may not sign certificates"),
        (Issuer(path_length=0), "the root CN=made by a test allows 0 CAs below it, and has 1"),
    ],
    ids=["expired", "not valid yet", "no CA", "too many below"],
)
def test_a_wrong_root_is_named(root: Issuer, problem: str) -> None:
    assert problem_over(Issuer(common="between"), root).startswith(problem)


def test_one_valid_path_of_two_is_enough() -> None:
    """As while an intermediate is renewed with the same key: the expired one may still be served beside it."""
    old = Issuer(days=(-9, -2))
    new = Issuer(key=old.key)
    chain = [issuer.signed_by(ROOT.name, ROOT.key) for issuer in (old, new)]
    assert trust_problem(leaf_of(old), chain, [ROOT.as_root]) == ""
    assert "expired" in trust_problem(leaf_of(old), chain[:1], [ROOT.as_root])


def test_a_root_of_the_same_name_and_another_key_is_another() -> None:
    other = Issuer(common="root")
    intermediate = Issuer()
    assert (
        trust_problem(leaf_of(intermediate), [intermediate.signed_by(ROOT.name, ROOT.key)], [other.as_root]) == NO_ROOT
    )


def test_two_that_certify_each_other_end_nowhere() -> None:
    one, other = Issuer(common="one"), Issuer(common="other")
    circle = [one.signed_by(other.name, other.key), other.signed_by(one.name, one.key)]
    assert trust_problem(leaf_of(one), circle, [ROOT.as_root]) == NO_ROOT


def test_what_is_trusted_itself_needs_no_issuer() -> None:
    lone = leaf_of(ROOT)
    assert trust_problem(lone, [], [lone]) == ""


def test_a_servers_certificate_is_valid_by_its_own_names_over_its_issuer() -> None:
    life = (NOW - timedelta(days=1), NOW + timedelta(days=3))
    leaf = certificates.server(["istiod.a.svc"], new_key(), issuer=ROOT.name, issuer_key=ROOT.key, life=life)
    roots = [ROOT.as_root]
    assert certificates.server_problem([leaf], "istiod.a.svc", roots) == ""
    assert certificates.server_problem([leaf], "istiod.b.svc", roots) == "not a certificate of istiod.b.svc"
    assert certificates.server_problem([], "istiod.a.svc", roots) == "no certificate"
    assert certificates.server_problem([leaf_of(ROOT)], "istiod.a.svc", roots).startswith("not a certificate")
    assert 0.74 < certificates.life_left(leaf) < 0.76


def test_an_authority_lives_as_long_as_it_is_given() -> None:
    life = (NOW - timedelta(days=9), NOW - timedelta(days=1))
    made = certificates.authority(ROOT.name, new_key(), issuer=ROOT.name, issuer_key=ROOT.key, life=life)
    assert not certificates.is_valid_now(made)
    assert certificates.life_left(made) < 0
