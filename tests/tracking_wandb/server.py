"""A stand-in for W&B on 127.0.0.1, enough for wandb's own client: runs that can be resumed, and saved views."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer:
    """Answers GraphQL and the file stream, and remembers what it was told.

    Attributes:
        history: run id → history lines as parsed JSON, at the offsets the client gave.
        runs: run id → the last variables of its upsert (group, job type, tags, config …).
        summary: run id → its last summary.
        views: view name → variables of its last save, with `id`.
        operations: names of all GraphQL operations, in order.
        authorizations: every Authorization header seen.
        unknown: operations and paths it had no answer for.
        drop_file_stream: answer uploads of history with an error.
        missing_projects: names of projects that do not exist.
        exits: run id → exit codes and preemption notices, in order.
    """

    def __init__(self) -> None:
        self.history: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.runs: dict[str, dict[str, Any]] = {}
        self.summary: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.operations: list[str] = []
        self.authorizations: set[str] = set()
        self.exits: dict[str, list[Any]] = defaultdict(list)
        self.unknown: list[str] = []
        self.drop_file_stream = False
        self.missing_projects: set[str] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.authorizations.add(self.headers.get("authorization", ""))
                if self.path == "/graphql":
                    return self._answer(server.graphql(json.loads(body)))
                if self.path.endswith("/file_stream"):
                    if server.drop_file_stream:
                        return self._answer({}, 500)
                    return self._answer(server.file_stream(self.path.split("/")[-2], json.loads(body)))
                server.unknown.append(self.path)
                return self._answer({})

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self._answer({})

            def do_GET(self) -> None:
                server.unknown.append(self.path)
                self._answer({}, 404)

            def _answer(self, value: Any, code: int = 200) -> None:
                data = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def steps(self, run: str) -> list[int]:
        """Steps of a run's history lines, in their order on the server."""
        return [line["_step"] for _, line in sorted(self.history[run].items())]

    def graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        match = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
        name, variables = (match.group(1) if match else ""), request.get("variables") or {}
        self.operations.append(name)
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            self.unknown.append(name)
            return {"errors": [{"message": f"unknown operation {name}"}], "data": None}
        return {"data": answer(variables)}

    def file_stream(self, run: str, body: dict[str, Any]) -> dict[str, Any]:
        for name, chunk in (body.get("files") or {}).items():
            lines = [json.loads(line) for line in chunk["content"]] if name.endswith("jsonl") or "summary" in name else []
            if name == "wandb-history.jsonl":
                self.history[run].update(enumerate(lines, start=chunk["offset"]))
            elif name == "wandb-summary.json":
                self.summary[run] = lines[-1]
        if body.get("preempting"):
            self.exits[run].append("preempting")
        if body.get("complete"):
            self.exits[run].append(body["exitcode"])
        return {"exitcode": None, "limits": {}}

    def _Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "u", "entity": "team", "username": "user", "flags": "{}", "teams": {"edges": []}}}

    def _RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = variables["name"]
        if run not in self.runs:
            return {"model": None}
        lines = [line for _, line in sorted(self.history[run].items())]
        bucket = {
            "name": run, "id": run, "summaryMetrics": json.dumps(self.summary.get(run, {})), "displayName": run,
            "logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in lines[-1:]]), "eventsTail": "[]",
            "config": self.runs[run]["config"], "tags": [], "wandbConfig": '{"t": {}}',
        }  # fmt: skip
        return {
            "model": {
                "id": "project",
                "name": variables["project"],
                "entity": {"id": "e", "name": "team"},
                "bucket": bucket,
            }
        }

    def _UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = variables["name"]
        inserted = run not in self.runs
        self.runs[run] = {
            **self.runs.get(run, {}),
            **{key: value for key, value in variables.items() if value is not None},
        }
        project = {"id": "project", "name": variables["project"], "entity": {"id": "e", "name": "team"}}
        bucket = {
            "id": base64.b64encode(f"Run:v1:{run}:p:team".encode()).decode(), "name": run, "displayName": run,
            "description": "", "config": self.runs[run].get("config"), "sweepName": None, "project": project,
            "historyLineCount": len(self.history[run]),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _UpsertView2(self, variables: dict[str, Any]) -> dict[str, Any]:
        inserted = variables["name"] not in self.views
        identity = variables.get("id") or base64.b64encode(variables["name"].encode()).decode()
        self.views[variables["name"]] = {**variables, "id": identity}
        return {"upsertView": {"view": {"id": identity, "name": variables["name"]}, "inserted": inserted}}

    def _View(self, variables: dict[str, Any]) -> dict[str, Any]:
        views = [view for name, view in self.views.items() if name == variables["viewName"]]
        nodes = [{"node": {key: view[key] for key in ("id", "displayName", "spec")}} for view in views]
        return {"project": None if variables["name"] in self.missing_projects else {"allViews": {"edges": nodes}}}
