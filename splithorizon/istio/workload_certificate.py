"""By which identity a workload is known in the mesh, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from cryptography import x509

from splithorizon.base import clock
from splithorizon.base.timeouts import current as timeouts


def identity_of(trust_domain: str, namespace: str, account: str) -> str:
    """The SPIFFE id of a service account."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"


@dataclass(frozen=True)
class WorkloadCertificate:
    """One certificate of a workload, by what matters to those who meet it."""

    identities: tuple[str, ...]
    begins: datetime
    ends: datetime

    @classmethod
    def of_served(cls, leaf: x509.Certificate) -> Self:
        """As it was served."""
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = x509.SubjectAlternativeName([])
        identities = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
        return cls(identities, leaf.not_valid_before_utc, leaf.not_valid_after_utc)

    @classmethod
    def of_envoy(cls, certificate: Mapping[str, Any]) -> Self:
        """As Envoy describes it in ``certs``; raises KeyError or ValueError for another form."""
        return cls(
            tuple(name["uri"] for name in certificate["subject_alt_names"] if "uri" in name),
            datetime.fromisoformat(certificate["valid_from"]),
            datetime.fromisoformat(certificate["expiration_time"]),
        )

    @property
    def valid(self) -> bool:
        """Whether it is valid now, will be for long enough, and is not of those that live too short.

        Certificates are renewed at the half of their lives, so that a quarter is left of any that somebody renews.
        """
        now, life = clock.now(), self.ends - self.begins
        still = min(timedelta(seconds=timeouts().certificate_still_valid), life / 4)
        return self.begins <= now and now + still <= self.ends and not self.short_lived

    @property
    def short_lived(self) -> bool:
        """Whether its whole life is too short to mend the CA meanwhile."""
        return self.ends - self.begins < timedelta(seconds=timeouts().certificate_lives)

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{', '.join(self.identities) or 'nobody'}, valid from {self.begins:%FT%RZ} to {self.ends:%FT%RZ}"
