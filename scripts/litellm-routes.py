"""The routes of an installed LiteLLM, and which of them answers a request, by its own router.

Run by the Python that LiteLLM is installed in: `python litellm-routes.py < requests`. Reads lines
of a method (`WS` for a WebSocket) and a decoded path; writes one JSON document:

    {"version": …, "routes": [{"methods", "path", "group", "endpoint"}], "answers": [[n, how]]}

`n` counts in `routes`, or is -1; `how` is `full`, `wrong method` (405), `redirect` or `none`.
"""

import asyncio
import json
import os
import sys
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# At its import LiteLLM wants a key, and nothing is served with this one.
os.environ.setdefault("LITELLM_MASTER_KEY", "sk-" + "unused" * 8)

from litellm.proxy import _lazy_features as lazy
from litellm.proxy._types import LiteLLMRoutes
from litellm.proxy.auth.route_checks import RouteChecks
from litellm.proxy.proxy_server import app
from starlette.routing import Match, Mount, compile_path


class Leaf:
    """One route: its pattern and methods as Starlette compiles them, and where it stands."""

    def __init__(self, route, context, top):
        shown = getattr(context, "starlette_route", None) or context or route
        self.path = shown.path
        self.mount = isinstance(route, Mount)
        self.websocket = "WebSocket" in type(route).__name__
        self.methods = None if self.mount else getattr(shown, "methods", None)
        pattern = self.path.rstrip("/") + "/{path:path}" if self.mount else self.path
        self.regex = compile_path(pattern)[0]
        self.start = pattern.split("{")[0].rstrip("/")
        self.top = top
        endpoint = getattr(route, "endpoint", None) or getattr(route, "app", None)
        self.endpoint = f"{endpoint.__module__}.{getattr(endpoint, '__name__', '')}"

    def match(self, method, path):
        if not path.startswith(self.start) or not self.regex.match(path):
            return Match.NONE
        if self.mount:
            return Match.FULL
        if self.websocket or method == "WS":
            return Match.FULL if self.websocket and method == "WS" else Match.NONE
        # Starlette: a route without methods answers each.
        return Match.PARTIAL if self.methods and method not in self.methods else Match.FULL

    def named(self):
        """Methods in order; `*` for all, `WS` for a WebSocket."""
        return ["WS"] if self.websocket else sorted(self.methods or ["*"])


def flatten(routes):
    for top, route in enumerate(routes):
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is None:
            yield Leaf(route, None, top)
            continue
        for context in contexts():
            yield Leaf(context.original_route, context, top)


def group_of(path):
    """Where LiteLLM itself puts a route."""
    filled = compile_path(path)[1]
    for name in compile_path(path)[2]:
        filled = filled.replace("{" + name + "}", "x1")
    listed = getattr(LiteLLMRoutes, "apply_guardrail_routes", None)
    if RouteChecks.is_llm_api_route(filled) or (listed is not None and path in listed.value):
        return "llm_api"
    return "public" if path in LiteLLMRoutes.public_routes.value else "other"


def scope_of(method, path):
    kind = "websocket" if method == "WS" else "http"
    return {"type": kind, "method": method, "path": path, "root_path": "", "headers": []}


def find(leaves, method, path):
    partial = (-1, "none")
    for at, leaf in enumerate(leaves):
        match = leaf.match(method, path)
        if match is Match.FULL:
            return at, "full"
        if match is Match.PARTIAL and partial[0] < 0:
            partial = (at, "wrong method")
    return partial


def answer(leaves, method, path):
    at, how = find(leaves, method, path)
    if how != "none" or method == "WS" or path == "/":
        return at, how
    other = path.rstrip("/") if path.endswith("/") else path + "/"
    at, how = find(leaves, method, other)
    return (at, "redirect") if how != "none" else (-1, "none")


def check_against_router(leaves, method, path):
    """The patterns are LiteLLM's, the walk along them is ours: some are walked by Starlette."""
    at, how = find(leaves, method, path)
    scope = scope_of(method, path)
    tops = enumerate(app.router.routes)
    full = next((n for n, route in tops if route.matches(scope)[0] is Match.FULL), -1)
    if full != (leaves[at].top if how == "full" else -1):
        sys.exit(f"{method} {path}: Starlette finds route {full}, not {at} ({how})")


async def load():
    """LiteLLM registers some features when a path of theirs is first asked for."""
    for feature in lazy.LAZY_FEATURES:
        await lazy._force_load(app, feature)


def main():
    asyncio.run(load())
    leaves = list(flatten(app.router.routes))
    requests = [line.rstrip("\n").split(" ", 1) for line in sys.stdin]
    for method, path in requests[::50]:
        check_against_router(leaves, method, path)
    routes = [
        {
            "methods": leaf.named(),
            "path": leaf.path,
            "group": group_of(leaf.path),
            "endpoint": leaf.endpoint,
        }
        for leaf in leaves
    ]
    answers = [answer(leaves, method, path) for method, path in requests]
    json.dump({"version": version("litellm"), "routes": routes, "answers": answers}, sys.stdout)


main()
