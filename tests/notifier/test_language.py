"""The language of templates: what is in it, what is not, and that no text takes long or breaks a mail."""

import time
import uuid
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.text import plain_name
from services.notifier.messages.compose import Draft, compose, deliverable
from services.notifier.templates import dates, language, layout
from services.notifier.templates.catalog import KINDS, Source, sample, shipped
from services.notifier.templates.language import Kind, TemplateInvalid
from services.notifier.templates.proof import require_sound
from services.notifier.templates.writing import write

VARIABLES: dict[str, Kind] = {"name": "name", "deadline": "time", "services": "list", "action": "action"}
PAYLOADS = Path(__file__).with_name("payloads.txt").read_text().splitlines()
WRITTEN = sorted(KINDS.keys() - {"template_test"})
BRAND = layout.Brand("Beratungsstelle Nord", "post@mail.example.org")


@pytest.mark.parametrize("source", PAYLOADS)
def test_what_is_not_in_the_language_is_refused_with_its_line(source: str) -> None:
    """Sandbox escapes, bombs and everything else that Jinja2 could do."""
    with pytest.raises(TemplateInvalid) as refused:
        language.check(f"first line\n{source}", VARIABLES)
    assert refused.value.params["line"] in (1, 2)
    assert refused.value.params["message"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Hello {{ name }}", "Hello Kim"),
        ("{{ name|upper }} {{ name|lower }} {{ name|trim }}", "KIM kim Kim"),
        ("{{ nobody|default('friend') }}", "friend"),
        ("{{ deadline|date }}, {{ deadline|time }}", "24 December 2026, 17:05 CET"),
        ("{{ deadline|date|upper }}", "24 DECEMBER 2026"),
        ("{% if name %}a{% elif nobody %}b{% else %}c{% endif %}", "a"),
        ("{% if not nobody %}a{% endif %}", "a"),
        ("{% for one in services %}{{ one|upper }} {% else %}none{% endfor %}", "A B "),
        ("{% raw %}{{ name }}{% endraw %}{# gone #}", "{{ name }}"),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_the_language(source: str, expected: str) -> None:
    values: dict[str, Any] = {"name": "Kim", "nobody": "", "services": ["a", "b"], "action": "x"}
    values["deadline"] = dates.Local(datetime(2026, 12, 24, 16, 5, tzinfo=UTC), "Europe/Berlin", "en")
    language.check(source, {**VARIABLES, "nobody": "name"})
    assert language.render(source, values) == expected


@pytest.mark.parametrize(
    "source",
    [
        "x" * (language.MAX_SOURCE + 1),
        "{% if name %}" * 13 + "{% endif %}" * 13,
        "{{ " + "(" * 3000 + "name" + ")" * 3000 + " }}",
        "{% if " + "not " * 6000 + "name %}x{% endif %}",
    ],
)
def test_a_text_is_limited_in_size_and_depth(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(TemplateInvalid):
        language.check(source, VARIABLES)
    assert time.monotonic() - started < 2


def test_output_is_limited() -> None:
    source = "{% for one in services %}" + "{{ one }}" * 1000 + "{% endfor %}"
    language.check(source, VARIABLES)
    with pytest.raises(language.RenderingTooLarge):
        language.render(source, {"services": ["x" * 1000] * 1000})
    assert len(language.render("{% for one in services %}x{% endfor %}", {"services": ["a"] * 1000})) == 50


@settings(max_examples=300)
@given(st.text(alphabet="{}% nameifordg|().'[]\n_~*+-#\x00é", max_size=80))
def test_any_text_is_taken_or_refused_and_never_breaks(source: str) -> None:
    try:
        language.check(source, VARIABLES)
    except TemplateInvalid:
        return
    local = dates.Local(datetime(2026, 1, 1, tzinfo=UTC), "UTC", "de")
    language.render(source, {"name": "a", "deadline": local, "services": [], "action": "x"})


_INVITATION = KINDS["invitation"]
_SOUND = "Hello{% if name %} {{ name }}{% endif %},\n\n{{ action }}\n"


def test_a_sound_text_is_taken() -> None:
    require_sound(_INVITATION, subject="Your invitation", body=_SOUND)


@pytest.mark.parametrize(
    "body",
    [
        _SOUND.replace("{{ action }}", ""),
        _SOUND.replace("{{ action }}", "{{ action }}{{ action }}"),
        _SOUND.replace("{{ action }}", "{% if name %}{{ action }}{% endif %}"),
        _SOUND.replace("{{ action }}", "{% if not name %}{{ action }}{% endif %}"),
        _SOUND.replace("{{ action }}", "{% if name %}{% if tenant_name %}{{ action }}{% endif %}{% endif %}"),
        _SOUND.replace("{{ action }}", "{% raw %}{{ action }}{% endraw %}"),
        _SOUND.replace("{{ action }}", "{# {{ action }} #}"),
        "",
        "{% if name %}{% endif %}",
    ],
)
def test_mutations_that_lose_hide_or_double_the_link_are_refused(body: str) -> None:
    """D-14"""
    with pytest.raises(TemplateInvalid):
        require_sound(_INVITATION, subject="x", body=body)


def test_a_link_in_both_branches_comes_out_once_and_is_taken() -> None:
    body = "{% if name %}{{ name }} {{ action }}{% else %}{{ action }}{% endif %}"
    require_sound(_INVITATION, subject="x", body=body)


def test_a_list_may_not_repeat_what_comes_once() -> None:
    kind = KINDS["direct_message"]
    repeated = type(kind)(
        "direct_message", "transactional", "other", {**kind.variables, "services": "list"}, required=("message",)
    )
    with pytest.raises(TemplateInvalid):
        require_sound(repeated, subject="x", body="{% for one in services %}{{ message }}{% endfor %}")


@pytest.mark.parametrize("locale", ["de", "en"])
@pytest.mark.parametrize("kind", WRITTEN)
def test_what_we_ship_is_sound_by_our_own_rules(kind: str, locale: str) -> None:
    """D-13: every kind in both languages."""
    source = shipped(kind, locale)
    require_sound(KINDS[kind], subject=source.subject, body=source.body)
    assert bool(source.action_label) == ("action" in KINDS[kind].variables)


HOSTILE = [
    "<script>alert(1)</script>",
    "http://evil.example/win",
    "www.evil.example",
    "a@evil.example",
    "Bobby\r\nBcc: x@evil.example",
    "\u202egnp.exe",
    "{{ 7*7 }}",
    "{% raw %}",
    "\ue000action\ue001",
    "\ue000code\ue001",
    "ﷺ" * 50,
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("locale", ["de", "en"])
@pytest.mark.parametrize("kind", WRITTEN)
def test_every_kind_survives_hostile_names_in_both_languages(kind: str, locale: str, hostile: str) -> None:
    """R-28: names become neither links nor headers nor markup."""
    data = {**sample(KINDS[kind], locale), "name": hostile, "tenant_name": hostile}
    source = shipped(kind, locale)
    written = write(KINDS[kind], source, data, locale=locale, zone="Europe/Berlin")
    url = f"https://here.example/t/x/{layout.CODE}" if source.action_label else None
    laid = layout.lay_out(
        BRAND, locale, subject=written.subject, body=written.body, action_label=source.action_label, url=url
    )
    assert "evil.example" not in laid.text.replace("evil. example", "")
    assert "<script>" not in laid.html
    assert laid.text.count(layout.CODE) == (1 if url else 0)
    assert laid.html.count(layout.CODE) == (3 if url else 0)
    assert hostile == "" or hostile not in written.subject
    assert "\u202e" not in laid.text + laid.html


_HEADERS = st.text(max_size=80)


@settings(max_examples=200)
@given(subject=_HEADERS, name=_HEADERS, text=st.text(max_size=300))
def test_no_input_adds_a_header(subject: str, name: str, text: str) -> None:
    """ASVS 1.3.11: subject and names reach the mail as the rules let them; the number of headers never changes."""
    raw = compose(
        Draft(
            message_id=uuid.uuid4(),
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
            sender="post@mail.example.org",
            sender_name=plain_name(name),
            reply_to=None,
            recipient="kim@example.org",
            locale="de",
            subject=" ".join(plain_name(subject).split()),
            text=text.encode(errors="replace").decode(),
            html="<p>x</p>",
        )
    )
    mail = message_from_bytes(raw, policy=default)
    assert len(mail.keys()) == 10
    assert [name.lower() for name in mail].count("bcc") == 0
    assert all(ord(byte) < 128 for byte in raw.decode("latin-1") if byte not in "\r\n")


@settings(max_examples=100)
@given(text=st.text(max_size=400), html=st.text(max_size=400))
def test_what_was_put_in_comes_out_of_a_mail_program(text: str, html: str) -> None:
    """Both parts are read back by the standard library as they were, boundaries and lines of dots included."""
    texts = [one.encode(errors="replace").decode().replace("\r", "") for one in (text, html)]
    draft = Draft(
        message_id=uuid.uuid4(),
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        sender="post@mail.example.org",
        sender_name="Nord",
        reply_to="hallo@nord.example",
        recipient="kim@example.org",
        locale="de",
        subject="Grüße",
        text=texts[0] + "\n--=_alternative--\n.\n",
        html=texts[1],
        logo=("image/png", b"\x89PNG" * 50),
    )
    mail = message_from_bytes(compose(draft), policy=default)
    plain, html_part, picture = [part for part in mail.walk() if not part.is_multipart()]
    assert not mail.defects
    assert plain.get_content().replace("\r\n", "\n").rstrip("\n") == draft.text.rstrip("\n")
    assert html_part.get_content().replace("\r\n", "\n").rstrip("\n") == draft.html.rstrip("\n")
    assert (picture.get_content(), picture["Content-ID"]) == (b"\x89PNG" * 50, "<logo>")
    assert max(len(line) for line in compose(draft).split(b"\r\n")) <= 998
    assert (mail["Subject"], mail["Reply-To"]) == ("Grüße", "hallo@nord.example")


def test_no_name_and_no_subject_hides_an_address_in_an_encoded_word() -> None:
    """R-28: RFC 2047 is for us to write, not for who types a sender name or a subject."""
    typed = "=?utf-8?b?UGF5UGFsIHNlcnZpY2VAcGF5cGFsLmNvbQ==?="  # PayPal service@paypal.com
    raw = compose(
        Draft(
            message_id=uuid.uuid4(),
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
            sender="post@mail.example.org",
            sender_name=typed,
            reply_to=None,
            recipient="kim@example.org",
            locale="de",
            subject=typed,
            text="x",
            html="<p>x</p>",
        )
    )
    mail = message_from_bytes(raw, policy=default)
    assert "paypal" not in f"{raw.decode()} {mail['From']} {mail['Subject']}"
    assert [one.addr_spec for one in mail["From"].addresses] == ["post@mail.example.org"]


def test_a_mail_to_an_address_beyond_ascii_names_its_domain_in_ascii() -> None:
    raw = compose(
        Draft(
            message_id=uuid.uuid4(),
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
            sender="post@mail.example.org",
            sender_name="Nord",
            reply_to=None,
            recipient=deliverable("kim@bücher.example", "kim@xn--bcher-kva.example"),
            locale="de",
            subject="Grüße",
            text="ä",
            html="<p>ä</p>",
        )
    )
    assert b"To: kim@xn--bcher-kva.example\r\n" in raw
    assert b"Subject: =?utf-8?" in raw


@pytest.mark.parametrize(
    ("colour", "on_colour"),
    [("#000000", "#ffffff"), ("#ffffff", "#111111"), ("#ffee00", "#111111"), ("javascript:x", "#ffffff")],
)
def test_a_button_can_be_read_whatever_its_colour(colour: str, on_colour: str) -> None:
    brand = layout.Brand("Nord", "post@mail.example.org", colour=colour)
    laid = layout.lay_out(brand, "de", subject="x", body=layout.ACTION, action_label="Los", url="https://here.example/")
    assert f"color:{on_colour};font-weight" in laid.html
    assert "javascript:" not in laid.html


def test_only_web_addresses_become_links() -> None:
    brand = layout.Brand("N", "p@m.example", imprint_url="javascript:alert(1)", privacy_url="https://n.example/p")
    laid = layout.lay_out(brand, "de", subject="x", body="y")
    assert "javascript" not in laid.html + laid.text
    assert 'href="https://n.example/p"' in laid.html


def test_the_text_part_reads_well() -> None:
    written = write(
        _INVITATION, shipped("invitation", "de"), sample(_INVITATION, "de"), locale="de", zone="Europe/Berlin"
    )
    laid = layout.lay_out(
        BRAND, "de", subject=written.subject, body=written.body, action_label="Ansehen", url="https://here.example/x"
    )
    assert laid.text == Path(__file__).with_name("invitation.de.txt").read_text()


def test_lists_and_paragraphs_are_what_they_look_like() -> None:
    source = Source("1", "x", "Hi\nthere\n\n- one\n- two\n\nbye")
    laid = layout.lay_out(BRAND, "en", subject="x", body=source.body)
    assert "Hi<br>there" in laid.html
    assert laid.html.count("<li") == 2
    assert laid.text.startswith("Hi\nthere\n\n- one\n- two\n\nbye\n\n-- \n")
