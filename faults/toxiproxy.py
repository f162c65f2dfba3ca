"""One Toxiproxy server of our own, and how to speak to it through toxiproxy-python.

The library keeps host and port on a class, has no timeout and takes a 5xx for a success. All three are mended here and
nowhere else. A session that times out, raises, and ignores proxies in the environment replaces the library's
module-level `requests`. A lock ties the class to one server during a call. Written for toxiproxy-python 0.1.1.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests
import toxiproxy.api
from toxiproxy import Toxiproxy
from toxiproxy.api import APIConsumer

from faults.acquire import ToxiproxyUnavailableError, describe_sources, find_server
from faults.foreign import replace
from faults.links import Address, Link, Route
from faults.processes import ManagedProcess, launch_program

__all__ = ["ToxiproxyError", "ToxiproxyServer", "ToxiproxyUnavailableError", "describe_sources", "find_server"]

CONNECT_TIMEOUT_S = 2.5
ANSWER_TIMEOUT_S = 11.0
"""A server that lives may take so long: to take a toxic away from a connection that is broken, it waits five seconds
for each piece that the toxic still has, and meanwhile keeps others waiting."""
START_DEADLINE_S = 15.0

T = TypeVar("T")


class ToxiproxyError(Exception):
    """The server does not answer, or refuses what it is asked."""


class _Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S
        response = super().request(*args, **kwargs)
        if response.status_code >= 500 or response.status_code == 403:
            response.raise_for_status()
        return response


_ADDRESSING = threading.RLock()
replace(toxiproxy.api, "requests", _Session(), version="toxiproxy-python 0.1.1")


class ToxiproxyServer:
    """A server process on `api` with a proxy for each route. Raises ToxiproxyError when it cannot be started."""

    def __init__(
        self,
        binary: Path,
        api: Address,
        routes: Collection[Route],
        log: Path,
        *,
        start_deadline_s: float = START_DEADLINE_S,
    ) -> None:
        self._binary = binary
        self._api = api
        self._routes = tuple(routes)
        self._log = log
        self._start_deadline_s = start_deadline_s
        self._process: ManagedProcess | None = None
        self._over = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_over(self) -> bool:
        """Whether it was stopped for good."""
        return self._over

    def start(self) -> None:
        argv = [str(self._binary), "-host", self._api.host, "-port", str(self._api.port)]
        self._process = launch_program(argv, env={"LOG_LEVEL": "warn"}, output=self._log, name="toxiproxy")
        self._wait_until_ours_answers(self._process)
        self._populate(self._routes)
        missing = {str(route.link) for route in self._routes} - set(self.proxies())
        if missing:
            raise ToxiproxyError(f"Toxiproxy did not create {', '.join(sorted(missing))}; see {self._log}")

    def stop(self) -> None:
        """Stop for good: healing a link afterwards does not bring the server back."""
        self._over = True
        self._kill()

    def restart(self) -> None:
        """A new process on the same port with the same routes and no toxics."""
        if self._over:
            raise ToxiproxyError(f"Toxiproxy at {self._api} was stopped")
        self._kill()
        self.start()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def call(self, request: Callable[[], T]) -> T:
        """Make one of the library's calls to this server. Raises ToxiproxyError."""
        if self._is_stopped():
            raise ToxiproxyError(f"Toxiproxy at {self._api} does not answer: its process is stopped")
        with self._addressed():
            try:
                return request()
            except (requests.RequestException, ConnectionError) as error:
                raise ToxiproxyError(f"Toxiproxy at {self._api} does not answer: {error}") from error

    def proxies(self) -> dict[str, dict[str, Any]]:
        """Every proxy with its toxics, as the server has them now."""
        return dict(self.call(lambda: APIConsumer.get("/proxies").json()))

    def reset(self) -> None:
        """Enable every proxy and take away all toxics, in one call."""
        self.call(Toxiproxy().reset)

    def renew(self, links: Collection[Link]) -> None:
        """Put new proxies without toxics in the place of these, whose connections nobody needs any more."""
        for link in links:
            self.call(partial(APIConsumer.delete, f"/proxies/{link}"))
        self._populate([route for route in self._routes if route.link in links])

    def _populate(self, routes: Iterable[Route]) -> None:
        # Never without `listen`: the server would then bind every interface.
        proxies = [
            {"name": str(route.link), "listen": str(route.listen), "upstream": str(route.upstream), "enabled": True}
            for route in routes
        ]
        self.call(lambda: APIConsumer.post("/populate", json=proxies))

    def _is_stopped(self) -> bool:
        try:
            return self.pid is not None and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False

    def _wait_until_ours_answers(self, process: ManagedProcess) -> None:
        """A server whose API port is taken only logs that and lives on, so an answer may come from another process."""
        deadline = time.monotonic() + self._start_deadline_s
        while process.alive and time.monotonic() < deadline:
            if self._listens(process):
                return
            time.sleep(0.002)
        process.kill()
        raise ToxiproxyError(f"{self._binary} did not start on {self._api}; see {self._log}")

    def _listens(self, process: ManagedProcess) -> bool:
        try:
            connections = psutil.Process(process.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(c.status == psutil.CONN_LISTEN and c.laddr == tuple(self._api) for c in connections)

    @contextlib.contextmanager
    def _addressed(self) -> Iterator[None]:
        with _ADDRESSING:
            Toxiproxy().update_api_consumer(*self._api)
            yield
