"""Every kind of mail that the product sends: what it is about, what its text may name, what it must.

The shipped texts are files beside this one, shipped/<kind>.<locale>.txt; tenants publish versions of their own.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from libs.common.events.subjects import SERVICES
from services.notifier.strings import words
from services.notifier.templates.language import Kind

Category = Literal["security", "transactional"]
Group = Literal["invitation", "removal", "deletion", "other"]
"""Which cell of the matrix a security mail needs."""

Name = Literal[
    "invitation", "password_reset", "password_changed", "access_removed", "deletion_marked", "member_erased",
    "direct_message", "template_test",
]  # fmt: skip


class MailKind(msgspec.Struct, frozen=True):
    """required: what the body must show exactly once, whatever the values are. in_subject: the same for the subject,
    which may name nothing else: names of people and tenants stay out of headers (R-28).
    """

    name: Name
    category: Category
    group: Group
    variables: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    in_subject: tuple[str, ...] = ()
    own_text: bool = True
    """Tenants may write their own version. A person's mail belongs to no tenant."""


_COMMON: Mapping[str, Kind] = {"tenant_name": "name", "name": "name"}
_LINK: Mapping[str, Kind] = {"action": "action", "deadline": "time"}

KINDS: Mapping[str, MailKind] = {
    kind.name: kind
    for kind in (
        MailKind("invitation", "security", "invitation", {**_COMMON, **_LINK}, required=("action",)),
        MailKind("password_reset", "security", "other", {**_COMMON, **_LINK}, required=("action",), own_text=False),
        MailKind("password_changed", "security", "other", {**_COMMON, "at": "time"}, own_text=False),
        MailKind("access_removed", "security", "removal", _COMMON),
        MailKind("deletion_marked", "security", "deletion", _COMMON),
        MailKind("member_erased", "transactional", "other", {**_COMMON, "certificate": "text", "services": "list"}),
        MailKind(
            "direct_message",
            "transactional",
            "other",
            {**_COMMON, "subject": "text", "message": "text"},
            required=("message",),
            in_subject=("subject",),
        ),
        # Its body is the text that is tried out, written when it is queued (preview.py).
        MailKind("template_test", "transactional", "other", {}, own_text=False),
    )
}

_SAMPLES: Mapping[str, object] = {
    "tenant_name": "Beratungsstelle Nord",
    "name": "Kim Vogt",
    "deadline": datetime(2026, 12, 24, 16, 5, tzinfo=UTC),
    "at": datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    "certificate": "0199a3f0-0000-7000-8000-000000000000",
    "subject": "Termin am Donnerstag / Our meeting on Thursday",
    "message": "Liebe Kim,\n\nder Termin am Donnerstag beginnt erst um 17 Uhr.\n\nViele Grüße",
}


def sample(kind: MailKind, locale: str) -> dict[str, object]:
    """Values for previews and test mails."""
    own = {"services": [words(locale)[f"service.{name}"] for name in SERVICES]}
    return {name: own.get(name, _SAMPLES.get(name)) for name in kind.variables if name != "action"}


class Source(msgspec.Struct, frozen=True):
    """What is written for one kind and locale. The log shows version: `shipped 1`, or the tenant's number."""

    version: str
    subject: str
    body: str
    action_label: str = ""


@cache
def shipped(kind: str, locale: str) -> Source:
    """Three lines of head (version, subject, action), a line of dashes, the body."""
    text = Path(__file__).with_name("shipped").joinpath(f"{kind}.{locale}.txt").read_text(encoding="utf-8")
    head, _, body = text.partition("\n---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    return Source(f"shipped {fields['version']}", fields["subject"], body.strip(), fields.get("action", ""))
