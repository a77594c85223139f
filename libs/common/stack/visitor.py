"""Somebody at a browser, at the API and at a mailbox, over HTTP only, as a stranger would.

The demo is made by it, and the journeys of the tests are told with it.

visitor = Visitor(gateway, mail)
visitor.open(visitor.link("bob@example.org")).submit(password="…")
visitor.sign_in("acme", "bob", "…")
visitor.get("/members/v1/me")
"""

import re
import time
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

PATIENCE = 20.0


class Form(HTMLParser):
    """The forms of a page: where each goes and the fields it brings along."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given.get("action", ""), {}))
        elif tag == "input" and self.forms and given.get("name") and given.get("type") not in ("submit", "checkbox"):
            self.forms[-1][1][given["name"]] = given.get("value", "")


class Page:
    """What a browser shows after all redirects."""

    def __init__(self, visitor: "Visitor", answer: httpx.Response) -> None:
        self._visitor, self.answer = visitor, answer
        self.status, self.text, self.path = answer.status_code, answer.text, answer.url.path
        self.forms = Form(answer.text).forms

    def submit(self, do: str = "", **fields: str) -> "Page":
        """Fill in the form that does this (the first one, where it is not said), and press its button."""
        for action, brought in self.forms:
            if not do or brought.get("do") == do:
                target = urljoin(str(self.answer.url), action)
                return self._visitor.request_page("POST", target, data={**brought, **fields})
        raise RuntimeError(f"{self.path} ({self.status}) has no form to {do or 'fill in'}: {self.forms}")


class Visitor:
    """One human with her own cookies; `token` once she has one, exchanged by itself before it is over."""

    def __init__(self, gateway: str, mail: str = "", *, timeout: float = 30) -> None:
        self.gateway, self.mail = gateway.rstrip("/"), mail.rstrip("/")
        self.cookies: dict[str, str] = {}
        self._elsewhere: dict[str, dict[str, str]] = {}  # cookies of other places, by host and port
        self.token = ""
        self._more: Callable[[], Any] | None = None
        self._stale_at = 0.0
        self._http = httpx.Client(timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # The API

    def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        if self._more and self.token and time.monotonic() > self._stale_at:
            self._renew()
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self._send(method, self.gateway + path, headers={**bearer, **(headers or {})}, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.call("POST", path, json={} if json is None else json, **options)

    def ask(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """The answer's JSON; raises for anything but success."""
        answer = self.call(method, path, **({} if json is None else {"json": json}), **options)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def sign_in(self, slug: str | None, login: str, password: str) -> Self:
        """A session and a token for it. Raises RuntimeError where that is refused."""
        self.token, self._more = "", None
        self.ask("POST", "/identity/v1/sessions", {"slug": slug, "login": login, "password": password})
        return self.take_token(slug)

    def take_token(self, slug: str | None = None) -> Self:
        same_origin = {"Origin": self.gateway, "X-CSRF": "1"}
        self._more = None
        answer = self.ask("POST", "/identity/v1/token", {"slug": slug} if slug else {}, headers=same_origin)
        return self._keep(answer, lambda: self.take_token(slug))

    def sign_in_as_operator(self, address: str, password: str, totp: str, new_password: str | None = None) -> Self:
        import pyotp

        said = {"address": address, "password": password, "totp": pyotp.TOTP(totp).now()}
        if new_password:
            said["new_password"] = new_password
        return self._take_operators_token("sessions", said)

    def _take_operators_token(self, place: str, said: Any) -> Self:
        self._more = None
        answer = self.ask("POST", f"/identity/v1/operator/{place}", said)
        return self._keep(answer, lambda: self._take_operators_token("token", {"session": answer["session"]}))

    def _renew(self) -> None:
        """Where that is refused or the service is away, the old token is shown, and answered as it deserves."""
        more = self._more
        try:
            more() if more else None
        except RuntimeError:
            self._more, self._stale_at = more, time.monotonic() + 5

    def _keep(self, answer: Any, more: Callable[[], Any]) -> Self:
        """The token, and how to get the next one when it is nearly over."""
        self.token, self._more = answer["access_token"], more
        self._stale_at = time.monotonic() + answer["expires_in"] - 60
        return self

    # Pages

    def open(self, url: str) -> Page:
        return self.request_page("GET", urljoin(self.gateway, url))

    def request_page(self, method: str, url: str, **options: Any) -> Page:
        origin = {"Origin": self.gateway, "Accept-Language": "en"} if method == "POST" else {}
        answer = self._send(method, url, headers=origin, **options)
        for _ in range(10):
            if not answer.is_redirect:
                break
            answer = self._send("GET", urljoin(str(answer.url), answer.headers["location"]))
        return Page(self, answer)

    # Mail

    def mails(self, address: str) -> list[dict[str, Any]]:
        """Everything that the catcher has for an address, oldest first."""
        found: list[dict[str, Any]] = self._http.get(f"{self.mail}/api/messages", params={"to": address}).json()
        return sorted(found, key=lambda mail: str(mail["received_at"]))

    def wait_for_mail(self, address: str, count: int = 1) -> dict[str, Any]:
        """The newest mail, once there are so many."""

        def newest() -> dict[str, Any] | None:
            mails = self.mails(address)
            return mails[-1] if len(mails) >= count else None

        return self.wait(newest, f"mail {count} to {address}")

    def link(self, address: str, count: int = 1) -> str:
        """The link in the newest mail that holds one, once there are so many. Notices hold none."""

        def newest() -> str | None:
            links = [link for mail in self.mails(address) if (link := self._find_link(mail))]
            return links[-1] if len(links) >= count else None

        return self.wait(newest, f"link {count} to {address}")

    def link_in(self, mail: Mapping[str, Any]) -> str:
        link = self._find_link(mail)
        if link is None:
            raise RuntimeError(f"no link in {mail['text']!r}")
        return link

    def _find_link(self, mail: Mapping[str, Any]) -> str | None:
        found = re.search(rf"{re.escape(self.gateway)}/\S+", mail["text"])
        return found.group(0).rstrip(">).") if found else None

    # Time

    def wait[T](self, look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
        """What look() gives once it is something; RuntimeError when patience (seconds) runs out."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            found = look()
            if found:
                return found
            time.sleep(0.05)
        raise RuntimeError(f"waited {patience:.0f} s for {what}")

    def _send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Cookies by hand: httpx would not send `__Host-` cookies over http://127.0.0.1, as browsers do."""
        ours = urlsplit(url).netloc == urlsplit(self.gateway).netloc
        jar = self.cookies if ours else self._elsewhere.setdefault(urlsplit(url).netloc, {})
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
        given = {**(headers or {}), **({"Cookie": cookie} if cookie else {})}
        answer = self._http.request(method, url, headers=given, **options)
        self._http.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    jar.pop(name, None)
                else:
                    jar[name] = morsel.value
        return answer
