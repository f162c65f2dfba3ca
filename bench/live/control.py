"""The running bench's own API: loopback, a port of its own, a token from a 0600 file.

POST /<command> with a JSON body of that command's arguments; 200 with JSON, or 4xx with `error` for a wrong request.
The commands are the table of `Commands`. A caller without the token is told nothing, not even which commands there are.
A caller with it is refused all the same if Host or Origin shows that a website asks through a browser.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import waitress.server
from flask import Flask, Response, request
from werkzeug.exceptions import Forbidden, HTTPException, NotFound, RequestEntityTooLarge, Unauthorized
from werkzeug.sansio.utils import host_is_trusted

from bench.cluster import NoSuchNodeError, WaitTimeoutError, members_of
from bench.live.cluster import LiveCluster
from bench.operations import (
    Delete,
    Freshness,
    Get,
    Join,
    Leave,
    Operating,
    Operation,
    Outcome,
    Put,
    TakeSnapshot,
    Transfer,
    check_key,
)
from bench.picture import groups_of, words_of
from bench.words import hindrances, no_key, not_served
from faults import cuts
from faults.links import CLIENT, UP, Kind, Link, Mode
from faults.nodes import NodeKind, NodeState

POSSIBLE = {"kill": ("running", "paused"), "pause": ("running",), "resume": ("paused",)}
"""The states in which a command changes a node; in any other state it is refused, because it would change nothing."""

THREADS = 4
MAX_BODY = 64 * 1024
HOSTS = ["127.0.0.1", "localhost"]
"""The hosts it listens on; a page that asks must come from one of them too."""

Command = tuple[Any, Callable[[Any], dict[str, Any]]]
"""The type of a command's arguments, and the function that performs it."""


class NodeAsked(msgspec.Struct, forbid_unknown_fields=True):
    node: str
    wipe: bool = False
    older: bool = False
    without: str = ""


class ResumeAsked(msgspec.Struct, forbid_unknown_fields=True):
    node: str | None = None
    """None means whoever is paused."""


class IsolateAsked(msgspec.Struct, forbid_unknown_fields=True):
    node: str
    mode: Mode = Mode.BLACKHOLE


class SplitAsked(msgspec.Struct, forbid_unknown_fields=True):
    groups: list[list[str]]
    mode: Mode = Mode.BLACKHOLE


class CutAsked(msgspec.Struct, forbid_unknown_fields=True):
    a: str
    b: str
    one_way: bool = False
    mode: Mode = Mode.BLACKHOLE


class DelayAsked(msgspec.Struct, forbid_unknown_fields=True):
    a: str
    b: str
    latency_ms: int
    jitter_ms: int = 0


class LimitAsked(msgspec.Struct, forbid_unknown_fields=True):
    a: str
    b: str
    rate_kib_s: int


class TransferAsked(msgspec.Struct, forbid_unknown_fields=True):
    node: str | None = None
    """The new leader; None leaves the choice to the leader."""


class HealAsked(msgspec.Struct, forbid_unknown_fields=True):
    a: str | None = None
    b: str | None = None
    """Both ends of the links to be healed; neither means everything."""
    only: Kind | None = None
    once_met: bool = False
    """First wait until a message between nodes has met one of the faults."""


class DownAsked(msgspec.Struct, forbid_unknown_fields=True):
    by: str = "whoever has its token"
    """Who asks, in words."""


class KeyAsked(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    node: str | None = None
    """The first to be asked; None means the leader, or where nobody leads any node that runs."""

    def __post_init__(self) -> None:
        check_key(self.key)


class GetAsked(KeyAsked, forbid_unknown_fields=True):
    freshness: Freshness = Freshness.STALE


class PutAsked(KeyAsked, forbid_unknown_fields=True, kw_only=True):
    value: str


class NothingAsked(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Control:
    """Serves `cluster` from `start` to `stop`; `on_down` is told who asks the cluster to end."""

    def __init__(self, cluster: LiveCluster, on_down: Callable[[str], None]) -> None:
        self.token = secrets.token_urlsafe(32)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.commands = Commands(cluster, on_down)
        app = control_app(self.token, self.commands.table)
        self._server: Any = waitress.server.create_server(app, sockets=[listener], threads=THREADS, ident=None)
        self._thread = threading.Thread(target=self._server.run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        # A thread that is still answering wakes the server's loop afterwards, through a pipe that is closed with it.
        self._server.task_dispatcher.shutdown()
        self._server.close()


def control_app(token: str, commands: Mapping[str, Command]) -> Flask:
    """Performs `commands` for callers that have the token. Every answer is JSON."""
    app = Flask("control", static_folder=None)
    app.config |= {"MAX_CONTENT_LENGTH": MAX_BODY, "TRUSTED_HOSTS": HOSTS}
    # Made before any thread: msgspec prepares a type at its first use, and crashes if two threads do that at once.
    decoders = {name: msgspec.json.Decoder(kind) for name, (kind, _) in commands.items()}

    @app.before_request
    def let_in() -> None:
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(offered.encode(), token.encode()):
            raise Unauthorized("the token is wrong")
        origin = request.headers.get("Origin")
        if origin is not None and not host_is_trusted(origin.partition("://")[2], HOSTS):
            raise Forbidden(f"a page of {origin} may ask nothing here; ask from the command line")

    @app.post("/<name>")
    def command(name: str) -> Response:
        if name not in commands:
            raise NotFound(f"there is no command {name}")
        _, perform = commands[name]
        try:
            return _answer(perform(decoders[name].decode(request.get_data() or b"{}")))
        except (NoSuchNodeError, WaitTimeoutError, ValueError, msgspec.MsgspecError, ProcessLookupError) as error:
            return _answer({"error": str(error)}, 400)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return _answer({"error": f"this exceeds the {MAX_BODY // 1024} KiB that the bench is told at once"}, 413)

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        return _answer({"error": error.description}, error.code or 500)

    return app


def _answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


class Commands:
    """What can be asked of a running bench. Raises NoSuchNodeError and ValueError for what cannot be done."""

    def __init__(self, cluster: LiveCluster, on_down: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._on_down = on_down
        commands: dict[str, Command] = {
            "status": (NothingAsked, lambda _: self.status()),
            "resolve": (NodeAsked, lambda asked: {"node": cluster.resolve(asked.node)}),
            "kill": (NodeAsked, lambda asked: {"node": self._act("kill", cluster.kill, asked.node)}),
            "restart": (NodeAsked, self._restart),
            "copy-disk": (NodeAsked, lambda asked: {"node": cluster.copy_disk(asked.node)}),
            "pause": (NodeAsked, lambda asked: {"node": self._act("pause", cluster.pause, asked.node)}),
            "resume": (ResumeAsked, self._resume),
            "isolate": (IsolateAsked, self._isolate),
            "split": (SplitAsked, self._split),
            "cut": (CutAsked, self._cut),
            "delay": (DelayAsked, self._delay),
            "limit": (LimitAsked, self._limit),
            "fill-disk": (NodeAsked, self._fill_disk),
            "heal": (HealAsked, self._heal),
            "get": (GetAsked, self._get),
            "put": (PutAsked, lambda asked: self._write(asked, Put(asked.key, asked.value))),
            "delete": (KeyAsked, lambda asked: self._write(asked, Delete(asked.key))),
            "join": (NodeAsked, lambda asked: self._operate("leader", Join(cluster.resolve(asked.node)))),
            "leave": (NodeAsked, lambda asked: self._operate("leader", Leave(cluster.resolve(asked.node)))),
            "transfer": (TransferAsked, self._transfer),
            "snapshot": (NodeAsked, lambda asked: self._operate(asked.node, TakeSnapshot())),
            "down": (DownAsked, self._down),
        }
        self.table = {name: (kind, self._telling(perform)) for name, (kind, perform) in commands.items()}

    def _telling(self, perform: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        """Performs the command, and adds to its answer what the bench did meanwhile without being asked."""

        def performed(asked: Any) -> dict[str, Any]:
            before = len(self._cluster.unasked)
            return {**perform(asked), "unasked": self._cluster.unasked[before:]}

        return performed

    def status(self) -> dict[str, Any]:
        """One row per node, the links that are not simply up, in words and in short words, the groups that they part,
        and where everything is kept."""
        cluster = self._cluster
        statuses = cluster.statuses()
        members = members_of(statuses.values())
        state, bypassed = cluster.network.state(), cluster.bypassed()
        said = {link: f"{state[link]}{', bypassed' * (link in bypassed)}" for link in state}
        wrong = {str(link): words_of(state[link], bypassed=link in bypassed) for link in state}
        rows = []
        for node in cluster.nodes:
            status = statuses[node]
            rows.append(
                {
                    "node": node,
                    "pid": cluster.pid(node),
                    "state": cluster.state(node),
                    "member": members.get(node),
                    "role": status.role if status else None,
                    "term": status.term if status else None,
                    "leader": status.leader if status else None,
                    "commit_index": status.commit_index if status else None,
                    "applied_index": status.applied_index if status else None,
                    "http": f"http://{cluster.node_plan(node).client}",
                    "folder": str(cluster.node_plan(node).folder),
                }
            )
        recording = cluster.recording
        return {
            "nodes": rows,
            "links": {str(link): words for link, words in said.items() if words != str(UP)},
            "short": {link: words for link, words in wrong.items() if words},
            "groups": groups_of(cluster.nodes, [link for link in state if state[link].cut]),
            "folder": str(recording.folder),
            "log": str(recording.log),
        }

    def _act(self, command: str, perform: Callable[[str], str], name: str) -> str:
        node = self._cluster.resolve(name)
        state = self._cluster.state(node)
        if state not in POSSIBLE[command]:
            way_out = f"; start it with: restart {node}" if state == "down" else ""
            raise ValueError(f"cannot {command} {node}: it is {state}{way_out}")
        return perform(node)

    def _resume(self, asked: ResumeAsked) -> dict[str, Any]:
        cluster = self._cluster
        paused = [node for node in cluster.nodes if cluster.state(node) == "paused"]
        if asked.node is None and not paused:
            raise ValueError("nobody is paused, so there is nobody to resume")
        named = paused if asked.node is None else [asked.node]
        return {"nodes": [self._act("resume", cluster.resume, node) for node in named]}

    def _restart(self, asked: NodeAsked) -> dict[str, Any]:
        found = self._cluster.restart(asked.node, wipe=asked.wipe, older=asked.older, without=asked.without)
        return {"node": found}

    def _isolate(self, asked: IsolateAsked) -> dict[str, Any]:
        node = self._cluster.resolve(asked.node)
        return self._put_cut(cuts.isolate(node, self._cluster.nodes), asked.mode)

    def _split(self, asked: SplitAsked) -> dict[str, Any]:
        groups = [[self._cluster.resolve(name) for name in group] for group in asked.groups]
        return self._put_cut(cuts.split(*groups), asked.mode)

    def _cut(self, asked: CutAsked) -> dict[str, Any]:
        return self._put_cut(self._between(asked.a, asked.b, one_way=asked.one_way), asked.mode)

    def _delay(self, asked: DelayAsked) -> dict[str, Any]:
        links = self._between(asked.a, asked.b)
        self._cluster.network.delay(links, asked.latency_ms, asked.jitter_ms)
        return {"links": sorted(map(str, links))}

    def _limit(self, asked: LimitAsked) -> dict[str, Any]:
        links = self._between(asked.a, asked.b)
        self._cluster.network.limit(links, asked.rate_kib_s)
        return {"links": sorted(map(str, links))}

    def _fill_disk(self, asked: NodeAsked) -> dict[str, Any]:
        """Does not wait until the node stops: where nothing is written it may run for long."""
        cluster = self._cluster
        if (reason := cluster.can("full_disk")) is not None:
            raise ValueError(reason)
        node = cluster.resolve(asked.node)
        cluster.node_faults.command(node, NodeKind.FULL_DISK, NodeState(disk_full=True))
        cluster.note("full_disk", node=node)
        return {"node": node}

    def _get(self, asked: GetAsked) -> dict[str, Any]:
        told = self._as_client(asked, Get(asked.key, asked.freshness))
        if told.value is None:
            raise ValueError(no_key(asked.key))
        return {"node": told.node, "value": told.value}

    def _write(self, asked: KeyAsked, question: Put | Delete) -> dict[str, Any]:
        told = self._as_client(asked, question)
        return {"node": told.node, "index": told.modify_index}

    def _as_client(self, asked: KeyAsked, question: Get | Put | Delete) -> Operation:
        """What a client that follows redirects was told. Raises ValueError if it was not served."""
        told = self._cluster.follower_of_redirects(self._asked_first(asked.node)).ask(question)
        if told.outcome is not Outcome.OK:
            raise ValueError(not_served(told, hindrances(self._cluster.hindered())))
        return told

    def _asked_first(self, name: str | None) -> str:
        cluster = self._cluster
        running = [node for node in cluster.nodes if cluster.is_running(node)]
        if name is None and not running:
            raise ValueError("no node runs, so there is nobody to ask; resume or restart one")
        node = cluster.resolve(name) if name is not None else next(filter(cluster.leads, running), running[0])
        if cluster.state(node) == "down":
            raise ValueError(f"{node} is down, and was asked nothing; ask another, or start it with: restart {node}")
        return node

    def _transfer(self, asked: TransferAsked) -> dict[str, Any]:
        to = self._cluster.resolve(asked.node) if asked.node is not None else ""
        told = self._asked("leader", Transfer(to))
        return {"node": told.value}

    def _operate(self, node: str, question: Join | Leave | TakeSnapshot) -> dict[str, Any]:
        told = self._asked(node, question)
        return {"node": getattr(question, "node", told.node)}

    def _asked(self, node: str, question: Operating) -> Operation:
        """The operation, if it was done. Raises ValueError if it was refused, or may yet be done."""
        told = self._cluster.client(node).ask(question)
        if told.outcome is not Outcome.OK:
            certain = "refused" if told.outcome is Outcome.FAILED else "has not said whether it was done"
            raise ValueError(f"{told.node} {certain}: {told.told.message or told.reason}")
        return told

    def _heal(self, asked: HealAsked) -> dict[str, Any]:
        network = self._cluster.network
        links = self._ends(asked.a, asked.b)
        if asked.once_met:
            self._cluster.wait_until_met(links)
        met, before = sum(network.met(links).values()), network.state()
        network.heal(links, asked.only)
        after = network.state()
        healed = sorted(link for link in after if after[link] != before[link])
        left = {str(link): str(after[link]) for link in healed if after[link] != UP}
        bypassed = sorted(map(str, self._cluster.bypassed().intersection(healed)))
        return {"links": list(map(str, healed)), "left": left, "bypassed": bypassed, "met": met}

    def _ends(self, a: str | None, b: str | None) -> frozenset[Link] | None:
        if a is None and b is None:
            return None
        if a is None or b is None:
            raise ValueError(f"a link has two ends; name the other one beside {a or b}, or neither to heal everything")
        return self._between(a, b)

    def _down(self, asked: DownAsked) -> dict[str, Any]:
        """Answers with what is about to end."""
        ends = [node for node in self._cluster.nodes if self._cluster.pid(node) is not None]
        self._on_down(asked.by)
        return {"nodes": ends, "folder": str(self._cluster.recording.folder)}

    def _put_cut(self, links: frozenset[Link], mode: Mode) -> dict[str, Any]:
        self._cluster.network.cut(links, mode)
        return {"links": sorted(map(str, links))}

    def _between(self, a: str, b: str, *, one_way: bool = False) -> frozenset[Link]:
        source, target = (name if name == CLIENT else self._cluster.resolve(name) for name in (a, b))
        if one_way and target == CLIENT:
            raise ValueError(f"clients have one link, from client to {source}; cut it with: cut client {source}")
        if one_way and source != CLIENT:
            return cuts.one_way([source], [target])
        return cuts.between(source, target)
