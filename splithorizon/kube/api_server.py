"""HTTP requests to one API server: each has a deadline, and each error names the cluster."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube import credentials

# Seconds to connect, and to wait for the next bytes of an answer; a healthy API server needs milliseconds.
REQUEST_TIMEOUT = (3, 30)
_PIECE = 64 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# The client library keeps one table per process of the files that it has written, without a lock.
_CONNECTING = threading.Lock()


class NoAnswer(EnvironmentBroke):
    """The API server did not answer. It may have carried out the request."""


class TooLarge(EnvironmentBroke):
    """The answer is larger than its reader allows, or takes longer: nothing of it is used."""


class Refused(EnvironmentBroke):
    """The API server answered with an error."""

    def __init__(self, what: str, *, status: int, message: str, date: datetime | None = None) -> None:
        """Keep the HTTP status, the server's message and the time by its clock."""
        super().__init__(what, seen=f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.date = date or datetime.now(UTC)


@dataclass(frozen=True)
class Answer:
    """An answer of the API server, and its time by the clock of the server, in whole seconds."""

    content: bytes
    date: datetime


class ApiServer:
    """The API server that a kubeconfig names. Threads can share it."""

    def __init__(self, kubeconfig: Path, cluster: str, kubectl: str) -> None:
        """Set the kubeconfig and the ``kubectl`` command for messages; nothing is read before the first request."""
        self._kubeconfig = kubeconfig
        self._cluster = cluster
        self._kubectl = kubectl
        self._client: Any = None
        self._known_tokens: set[str] = set()

    @property
    def configuration(self) -> Any:
        """The client library's configuration: address, certificates, credentials."""
        return self._connected().configuration

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Sequence[tuple[str, str]] = (),
        content_type: str = "application/json",
    ) -> bytes:
        """Send one request, without a retry, and return the body of the answer.

        Raises Refused if the answer is an error, and NoAnswer if there is none.
        """
        return self.exchange(method, path, body=body, query=query, content_type=content_type).content

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Sequence[tuple[str, str]] = (),
        content_type: str = "application/json",
    ) -> Answer:
        """Send one request as ``send`` does, and return the time by the server's clock as well."""
        with self._requesting(method, path) as client:
            answer = client.request(
                method, path, body=body, query_params=list(query), content_type=content_type,
                header_params={"Accept": "application/json, */*"},
                serialize=False, _request_timeout=REQUEST_TIMEOUT,
            )  # fmt: skip
            content: bytes = answer.data
        return Answer(content, _date(answer.headers))

    def read(self, path: str, *, query: Sequence[tuple[str, str]] = (), limit: int, within: float) -> bytes:
        """Read a path, at most ``limit`` bytes of it and for at most ``within`` seconds.

        Raises TooLarge where the answer is larger or takes longer, and as ``send`` does.
        """
        deadline = time.monotonic() + within
        connect, _ = REQUEST_TIMEOUT
        content = bytearray()
        with self._requesting("GET", path) as client:
            answer = client.request(
                "GET", path, query_params=list(query), header_params={"Accept": "application/json, */*"},
                serialize=False, _request_timeout=(min(connect, within), within),
            )  # fmt: skip
            try:
                for piece in answer.stream(_PIECE):
                    content += piece
                    if len(content) > limit or time.monotonic() > deadline:
                        seen = f"more than {limit} bytes" if len(content) > limit else f"not read within {within:.1f} s"
                        raise TooLarge(f"the answer of the {self._cluster} cluster to {path} is too large", seen=seen)
            except BaseException:
                # A connection with half an answer in it is of no use to the next request.
                answer.close()
                raise
        return bytes(content)

    def status_for(self, token: str, path: str, *, within: float) -> int:
        """The HTTP status by which the server answers another bearer token; 0 where there is no answer.

        It is asked at our own kubeconfig's address, and not through a proxy. The token is in a header alone.
        """
        from urllib3 import PoolManager
        from urllib3.exceptions import HTTPError

        configuration = self.configuration
        if configuration.proxy:
            return 0
        trust = {"ca_certs": configuration.ssl_ca_cert, "cert_reqs": "CERT_REQUIRED"}
        if not configuration.verify_ssl:
            trust = {"cert_reqs": "CERT_NONE"}
        with PoolManager(retries=False, timeout=within, **trust) as pool:
            try:
                url = f"{configuration.host.rstrip('/')}{path}?limit=1"
                return int(pool.request("GET", url, headers={"Authorization": f"Bearer {token}"}).status)
            except HTTPError:
                return 0

    @contextmanager
    def _requesting(self, method: str, path: str) -> Iterator[Any]:
        """The library's client for one request, whose errors become Refused and NoAnswer."""
        client = self._connected()
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield client
        except ApiException as error:
            if not error.status:
                raise self._no_answer(error.reason) from None
            what = f"the {self._cluster} cluster's API server refused {method} {path}"
            raise Refused(what, status=error.status, message=_message(error), date=_date(error.headers)) from None
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from None
        finally:
            # After the request: the library may have got a new token from an exec plug-in.
            self._keep_tokens(client.configuration)

    def _connected(self) -> Any:
        with _CONNECTING:
            if self._client is None:
                self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        from kubernetes import client, config, dynamic

        configuration = client.Configuration()
        try:
            # The library copies the client's key into a file (0600). It has to be in the folder of the run, because
            # a killed run would leave it behind in the temporary folder.
            config.load_kube_config(  # type: ignore[no-untyped-call]  # the library has few types
                config_file=str(self._kubeconfig), client_configuration=configuration,
                persist_config=False, temp_file_path=str(self._kubeconfig.parent),
            )  # fmt: skip
        except (config.ConfigException, OSError, ValueError, TypeError) as error:
            what = f"the {self._cluster} cluster's kubeconfig {self._kubeconfig} cannot be used"
            raise EnvironmentBroke(what, seen=str(error)) from None
        # By default urllib3 retries three times, each time with the full deadline.
        configuration.retries = False
        # A proxy cannot reach the loopback address of this machine; kubectl bypasses it as well.
        if urlsplit(configuration.host).hostname in _LOOPBACK:
            configuration.proxy = None
        self._keep_tokens(configuration)
        if configuration.key_file:
            credentials.keep(self._kubeconfig.parent, Path(configuration.key_file).read_bytes())
        return dynamic.DynamicClient(  # type: ignore[no-untyped-call]  # as above
            client.ApiClient(configuration), discoverer=lambda *_: None
        )

    def _keep_tokens(self, configuration: Any) -> None:
        """Record new tokens for redaction: the value of the Authorization header without its scheme."""
        for value in set(configuration.api_key.values()) - self._known_tokens:
            self._known_tokens.add(value)
            credentials.keep(self._kubeconfig.parent, value.rpartition(" ")[2].encode())

    def _no_answer(self, error: object) -> NoAnswer:
        return NoAnswer(
            f"the {self._cluster} cluster's API server does not answer",
            seen=str(error),
            next_command=f"{self._kubectl} get --raw /readyz",
        )


def _date(headers: Mapping[str, str] | None) -> datetime:
    """The time of the Date header; the time of this machine if a proxy removed the header."""
    try:
        return parsedate_to_datetime((headers or {})["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _message(error: Any) -> str:
    """The message of the Status object in an error; without one, the reason phrase."""
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return str(error.reason)
