"""The HTTP side: pages for people, JSON for tests. For this machine only: no sign-in, so no foreign host or origin."""

import json
import re
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from libs.common.stack.catcher.behaviour import Behaviour, Rule
from libs.common.stack.catcher.mailbox import Mailbox

_HERE = Path(__file__).parent
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; frame-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The mail's own HTML runs nothing and loads nothing from elsewhere; its links open in a tab of their own.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline';"
    " img-src data:; frame-ancestors 'self'"
)
_LIST = 100  # mails on the page


class Answer(NamedTuple):
    body: bytes
    kind: str = "application/json"
    status: int = 200
    policy: str = "default-src 'none'"


def make_server(address: tuple[str, int], mailbox: Mailbox, behaviour: Behaviour) -> ThreadingHTTPServer:
    site = Site(mailbox, behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = site.answer(self.command, self.path, self.headers.get("Host") or "", body)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Content-Security-Policy", answer.policy)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: tests ask often."""

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    return server


class Site:
    def __init__(self, mailbox: Mailbox, behaviour: Behaviour) -> None:
        self.mailbox, self.behaviour = mailbox, behaviour
        self._pages = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
        self._pages.filters["links"] = _links

    def answer(self, method: str, target: str, host: str, body: bytes) -> Answer:
        # A page elsewhere could point its own name at this address and read mails: only our names are served.
        if urlsplit(f"//{host}").hostname not in ("127.0.0.1", "localhost", "::1"):
            return _problem(421, "Ask for 127.0.0.1 or localhost")
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        path = [unquote(piece) for piece in url.path.strip("/").split("/")]
        return self._route("GET" if method == "HEAD" else method, path, query, body) or _problem(404, "Not here")

    def _route(self, method: str, path: Sequence[str], query: dict[str, str], body: bytes) -> Answer | None:
        match method, *path:
            case "GET", "":
                return self._page(query, None)
            case "GET", "messages", name:
                return self._page(query, name)
            case "GET", "messages", name, "body":
                html = self.mailbox.page(name)
                return None if html is None else Answer(html.encode(), "text/html; charset=utf-8", policy=_MAIL_POLICY)
            case "GET", ("page.css" | "page.js") as name:
                kind = "text/css" if name == "page.css" else "text/javascript"
                return Answer((_HERE / name).read_bytes(), f"{kind}; charset=utf-8")
            case "GET", "api", "state":
                return _json({"messages": self.mailbox.count()})
            case "GET", "api", "messages":
                limit = query.get("limit", "")
                return _json(self.mailbox.messages(query.get("to", ""), int(limit) if limit.isdecimal() else None))
            case "GET", "api", "messages", name:
                return _maybe(self.mailbox.find(name))
            case "GET", "api", "messages", name, "raw":
                raw = self.mailbox.raw(name)
                return None if raw is None else Answer(raw, "text/plain; charset=utf-8")
            case "DELETE", "api", "messages":
                self.mailbox.clear()
                return Answer(b"", status=204)
            case "DELETE", "api", "messages", name:
                return Answer(b"", status=204) if self.mailbox.delete(name) else None
            case "GET", "api", "transactions":
                return _json(self.mailbox.transactions())
            case _, "api", "behaviour":
                return self._behave(method, body)
        return None

    def _behave(self, method: str, body: bytes) -> Answer:
        if method == "DELETE":
            self.behaviour.write([])
        elif method == "PUT":
            try:
                rules = msgspec.json.decode(body, type=Rule | list[Rule])
            except msgspec.DecodeError as error:
                return _problem(400, str(error))
            self.behaviour.write(rules if isinstance(rules, list) else [rules])
        return _json(self.behaviour.read())

    def _page(self, query: dict[str, str], name: str | None) -> Answer | None:
        message = self.mailbox.find(name) if name else None
        if name and message is None:
            return None
        view = query.get("view") or ("html" if message and message.html else "text")
        page = self._pages.get_template("page.html").render(
            messages=self.mailbox.messages(query.get("to", ""), _LIST, whole=False),
            count=self.mailbox.count(),
            message=message,
            view=view,
            source=(self.mailbox.raw(name) or b"").decode(errors="replace") if name and view == "source" else "",
            to=query.get("to", ""),
        )
        return Answer(page.encode(), "text/html; charset=utf-8", policy=_PAGE_POLICY)


def _links(text: str) -> Markup:
    """Addresses in plain text as links."""
    pieces = re.split(r"(https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]])", text)
    link = Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>')
    return Markup("").join(link.format(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _json(content: object) -> Answer:
    return Answer(msgspec.json.encode(content))


def _maybe(content: object | None) -> Answer | None:
    return None if content is None else _json(content)


def _problem(status: int, title: str) -> Answer:
    return Answer(json.dumps({"status": status, "title": title}).encode(), "application/problem+json", status)
