"""HTTP requests to one API server: each has a deadline, and each error names the cluster.

A read that gets no answer, or the answer that the server is overloaded or starting, is repeated within a bound, and
counted. A write is never repeated: the server may have carried it out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from splithorizon.base import clock
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import connection, repeats
from splithorizon.kube.api_websocket import Endpoint

# Seconds to connect, and to wait for the next bytes of an answer; a healthy API server needs milliseconds.
REQUEST_TIMEOUT = (3, 30)
_PIECE = 64 * 1024
_JSON = "application/json, */*"
_UNAUTHORIZED = 401
# Too many requests; an API server, or what is before it, that starts, ends or has lost its storage for a moment.
_OVERLOADED = frozenset({429, 500, 502, 503, 504})
# Parts of the time within which a read is repeated, before each repetition: by default 0.25, 1 and 3 s.
_PAUSES = (1 / 60, 1 / 15, 1 / 5)
_AUTHORIZATION, _REVIEW = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
_REVIEWS = f"/apis/{_AUTHORIZATION}/{_REVIEW.lower()}s"
_CREATED = 201

T = TypeVar("T")


class NoAnswer(EnvironmentBroke):
    """The API server did not answer. It may have carried out the request."""


class TooLarge(EnvironmentBroke):
    """The answer is larger than its reader allows, or takes longer: nothing of it is used."""


class Refused(EnvironmentBroke):
    """The API server answered with an error."""

    def __init__(
        self, what: str, *, status: int, message: str, date: datetime | None = None, retry_after: float = 0
    ) -> None:
        """Keep the HTTP status, the server's message, the time by its clock and how many seconds it asks to wait."""
        super().__init__(what, seen=f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
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
        self._connection = connection.Connection(kubeconfig, cluster)
        # Whether the last read was repeated in vain: the next one is tried once, until one is answered again.
        self._is_silent = False

    @property
    def configuration(self) -> Any:
        """The client library's configuration: address, certificates, credentials."""
        return self._connection.client().configuration

    @property
    def endpoint(self) -> Endpoint:
        """How a websocket is opened, with the same credentials and by the same proxy as the other requests."""
        return Endpoint(self.configuration, self._connection.impersonation)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Sequence[tuple[str, str]] = (),
        content_type: str = "application/json",
        asks: bool = False,
        accept: str = _JSON,
    ) -> bytes:
        """Send one request and return the body of the answer; with ``asks`` it is a read, whatever its method.

        ``accept`` is the form that is asked for. Raises Refused if the answer is an error, and NoAnswer if there is
        none.
        """
        return self.exchange(
            method, path, body=body, query=query, content_type=content_type, asks=asks, accept=accept
        ).content

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Sequence[tuple[str, str]] = (),
        content_type: str = "application/json",
        asks: bool = False,
        accept: str = _JSON,
    ) -> Answer:
        """Send one request as ``send`` does, and return the time by the server's clock as well."""

        def once() -> Answer:
            with self._requesting(method, path) as client:
                answer = client.request(
                    method, path, body=body, query_params=list(query), content_type=content_type,
                    header_params={"Accept": accept},
                    serialize=False, _request_timeout=REQUEST_TIMEOUT,
                )  # fmt: skip
                content: bytes = answer.data
            return Answer(content, _date(answer.headers))

        return self._repeated(once, within=timeouts().read_repeated if asks or method == "GET" else 0)

    def read(self, path: str, *, query: Sequence[tuple[str, str]] = (), limit: int, within: float) -> bytes:
        """Read a path, at most ``limit`` bytes of it and for at most ``within`` seconds.

        Raises TooLarge where the answer is larger or takes longer, and as ``send`` does.
        """
        deadline = time.monotonic() + within
        bound = min(within, timeouts().read_repeated)
        return self._repeated(lambda: self._read_once(path, query, limit, deadline), within=bound)

    def _read_once(self, path: str, query: Sequence[tuple[str, str]], limit: int, deadline: float) -> bytes:
        within = max(0.001, deadline - time.monotonic())
        connect, _ = REQUEST_TIMEOUT
        content = bytearray()
        with self._requesting("GET", path) as client:
            answer = client.request(
                "GET", path, query_params=list(query), header_params={"Accept": _JSON},
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

    def follow(self, path: str, *, query: Sequence[tuple[str, str]], silence: float) -> Iterator[bytes]:
        """Read a path whose answer goes on, piece by piece as the server sends it, until it ends.

        Raises NoAnswer where nothing came for ``silence`` seconds or the connection broke, and Refused.
        """
        connect, _ = REQUEST_TIMEOUT
        with self._requesting("GET", path) as client:
            answer = client.request(
                "GET", path, query_params=list(query), header_params={"Accept": _JSON},
                serialize=False, _request_timeout=(connect, silence),
            )  # fmt: skip
            try:
                yield from answer.stream(_PIECE)
            finally:
                # A connection with half an answer in it is of no use to the next request.
                answer.close()

    def status_for(self, token: str, path: str, *, within: float) -> int:
        """The HTTP status by which the server answers another bearer token; 0 where there is no answer.

        It is asked at our own kubeconfig's address, and not through a proxy. The token is in a header alone.
        """
        answers = self._answers_to(token, [("GET", f"{path}?limit=1", None)], within=within)
        return answers[0][0] if answers else 0

    def reviewed_for(
        self, token: str, attributes: Sequence[Mapping[str, str]], *, within: float
    ) -> tuple[int, list[bool]]:
        """Ask with another bearer token whether its user is allowed each of these (SelfSubjectAccessReview).

        Returns the HTTP status of the first answer that is none, or 201, and the answers. The status is 0 for no
        answer, and where the server is behind a proxy. As by ``status_for`` the token is in a header alone.
        """
        asked = [
            ("POST", _REVIEWS, {"apiVersion": _AUTHORIZATION, "kind": _REVIEW, "spec": {"resourceAttributes": one}})
            for one in attributes
        ]
        answers = self._answers_to(token, asked, within=within)
        refused = [status for status, _ in answers if status != _CREATED]
        if refused or len(answers) < len(asked):
            return (refused[0] if refused else 0), []
        return _CREATED, [bool((answer.get("status") or {}).get("allowed")) for _, answer in answers]

    def _answers_to(
        self, token: str, asked: Sequence[tuple[str, str, object]], *, within: float
    ) -> list[tuple[int, Any]]:
        """Status and content of the answers to another bearer token; without those from the first on that is lost."""
        from urllib3 import PoolManager
        from urllib3.exceptions import HTTPError

        configuration = self.configuration
        if configuration.proxy:
            return []
        trust = {"ca_certs": configuration.ssl_ca_cert, "cert_reqs": "CERT_REQUIRED"}
        if not configuration.verify_ssl:
            trust = {"cert_reqs": "CERT_NONE"}
        deadline = time.monotonic() + within
        answers: list[tuple[int, Any]] = []
        server = configuration.host.rstrip("/")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with PoolManager(retries=False, timeout=within, **trust) as pool:
            for method, path, body in asked:
                if time.monotonic() > deadline:
                    break
                try:
                    content = None if body is None else json.dumps(body).encode()
                    answer = pool.request(method, f"{server}{path}", body=content, headers=headers)
                except HTTPError:
                    break
                # A status without JSON is a refusal, whose words nobody needs.
                answers.append((int(answer.status), json.loads(answer.data) if answer.status == _CREATED else {}))
        return answers

    def _repeated(self, once: Callable[[], T], *, within: float) -> T:
        """Send a request; repeat it after a new credential, or as a read that may be answered, for ``within`` seconds.

        Raises what the last attempt raised.
        """
        try:
            found = once()
        except (NoAnswer, Refused) as problem:
            if isinstance(problem, Refused) and problem.status == _UNAUTHORIZED and self._connection.renew():
                # Such a request is refused before anything is done.
                return once()
            if not within or not _may_pass(problem):
                self._is_silent = self._is_silent and not isinstance(problem, Refused)
                raise
            if self._is_silent:
                raise
            return self._repeated_until_answered(once, problem, within)
        self._is_silent = False
        return found

    def _repeated_until_answered(self, once: Callable[[], T], problem: NoAnswer | Refused, within: float) -> T:
        pauses = iter([within * part for part in _PAUSES])
        latest: NoAnswer | Refused = problem
        not_before = time.monotonic() + _pause(latest, next(pauses))

        def attempt() -> T:
            nonlocal latest, not_before
            if time.monotonic() < not_before:
                raise NotYet(str(latest))
            repeats.note(self._kubeconfig.parent, self._cluster)
            try:
                return once()
            except (NoAnswer, Refused) as again:
                latest = again
                pause = next(pauses, None)
                if pause is None or not _may_pass(again):
                    raise
                not_before = time.monotonic() + _pause(again, pause)
                raise NotYet(str(again)) from None

        try:
            found = eventually("the API server answers", attempt, within=within, every=within / 30)
        except TimedOut:
            self._is_silent = isinstance(latest, NoAnswer)
            raise latest from None
        except NoAnswer:
            self._is_silent = True
            raise
        self._is_silent = False
        return found

    @contextmanager
    def _requesting(self, method: str, path: str) -> Iterator[Any]:
        """The library's client for one request, whose errors become Refused and NoAnswer."""
        client = self._connection.client()
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield client
        except ApiException as error:
            if not error.status:
                raise self._no_answer(error.reason) from None
            what = f"the {self._cluster} cluster's API server refused {method} {path}"
            raise Refused(
                what, status=error.status, message=_message(error), date=_date(error.headers),
                retry_after=_seconds((error.headers or {}).get("Retry-After")),
            ) from None  # fmt: skip
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from None

    def _no_answer(self, error: object) -> NoAnswer:
        return NoAnswer(
            f"the {self._cluster} cluster's API server does not answer",
            seen=str(error),
            next_command=f"{self._kubectl} get --raw /readyz",
        )


def _may_pass(problem: NoAnswer | Refused) -> bool:
    """Whether the same read may be answered a moment later."""
    return isinstance(problem, NoAnswer) or problem.status in _OVERLOADED


def _pause(problem: NoAnswer | Refused, otherwise: float) -> float:
    return max(otherwise, problem.retry_after) if isinstance(problem, Refused) else otherwise


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0


def _date(headers: Mapping[str, str] | None) -> datetime:
    """The time of the Date header; the time of this machine if a proxy removed the header."""
    try:
        found = parsedate_to_datetime((headers or {})["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
    clock.observe(found)
    return found


def _message(error: Any) -> str:
    """The message of the Status object in an error; without one, the reason phrase."""
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return str(error.reason)
