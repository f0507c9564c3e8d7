"""What is read of the credential in a remote secret, and which rights it has to have."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.istio import remote_credential
from splithorizon.istio.remote_credential import RemoteCredential, Right
from tests.istio.test_certificates import Issuer
from tests.support.controllers import encoded

END = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


def jwt(**claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({}, claims)]
    return ".".join([*parts, "signature"])


@pytest.mark.parametrize(
    ("token", "end"),
    [
        (jwt(exp=END.timestamp()), (END, True)),
        (jwt(sub="system:serviceaccount:istio-system:reader"), (None, True)),
        ("opaque-token", (None, False)),
        ("a.b.c", (None, False)),
        (jwt(exp="soon"), (None, False)),
        (jwt(exp=1e300), (None, False)),
        (f"x.{base64.urlsafe_b64encode(b'[]').decode()}.y", (None, False)),
    ],
    ids=["with an end", "without an end", "opaque", "no base64", "no number", "no moment", "no claims"],
)
def test_the_end_of_a_token(token: str, end: tuple[datetime | None, bool]) -> None:
    assert remote_credential.end_of_token(token) == end


def secret(user: Any) -> dict[str, Any]:
    kubeconfig = {"users": [{"user": user}]}
    data = {"remote": encoded(yaml.safe_dump(kubeconfig))}
    return {"metadata": {"namespace": "istio-system", "name": "istio-remote-secret-remote"}, "data": data}


def only(user: Any) -> RemoteCredential:
    (found,) = remote_credential.of_secrets([secret(user)])
    return found


def test_a_token_is_kept_and_never_shown() -> None:
    token = jwt(exp=END.timestamp())
    found = only({"token": token})
    assert found.place == "Secret istio-system/istio-remote-secret-remote, data key remote"
    assert (found.kind, found.ends, found.ends_known, found.token) == ("token", END, True, token)
    assert token not in repr(found)


def test_a_client_certificate_ends_when_it_says() -> None:
    certificate = Issuer(days=(-1, 3)).as_root
    found = only({"client-certificate-data": encoded(certificate.public_bytes(Encoding.PEM).decode())})
    assert (found.kind, found.ends) == ("client certificate", certificate.not_valid_after_utc)
    assert found.token == ""


@pytest.mark.parametrize(
    ("user", "kind"),
    [({"exec": {}}, "exec plug-in"), ({}, "none that is known"), ("text", "none that is known"),
     ({"client-certificate-data": encoded("no certificate")}, "none that is known")],
)  # fmt: skip
def test_of_other_credentials_no_end_is_known(user: Any, kind: str) -> None:
    found = only(user)
    assert (found.kind, found.ends, found.ends_known) == (kind, None, False)


def test_what_is_no_kubeconfig_has_no_credential() -> None:
    broken = secret({}) | {"data": {"remote": "no base64!"}}
    assert [one.kind for one in remote_credential.of_secrets([broken, {"metadata": {"name": "x"}}])] == [
        "none that is known"
    ]


def test_a_role_gives_each_verb_on_each_resource_of_each_group() -> None:
    role = {
        "rules": [
            {"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one"]},
            {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
        ]
    }
    assert remote_credential.rights_of(role) == {
        Right(group, "pods", verb) for group in ("", "apps") for verb in ("get", "list")
    }
    assert remote_credential.rights_of(None) == frozenset()


def test_a_watch_of_endpoint_slices_is_needed_everywhere() -> None:
    slices = Right("discovery.k8s.io", "endpointslices", "watch")
    assert slices in remote_credential.needed()
    assert str(slices) == "watch endpointslices (discovery.k8s.io)"


@pytest.mark.parametrize(
    ("revision", "name"),
    [("", "istio-reader-clusterrole-istio-system"), ("default", "istio-reader-clusterrole-istio-system"),
     ("1-29", "istio-reader-clusterrole-1-29-istio-system")],
)  # fmt: skip
def test_the_role_is_named_by_revision_and_namespace(revision: str, name: str) -> None:
    assert remote_credential.reader_role_of(revision, "istio-system") == name
