import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.text import Address, AddressMalformed, Line, Text, canonical_address, masked_address, plain_name

BAD = ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u200e", "\u200f", "\u061c", "\u202a", "\u202e", "\u2066", "\u2069"]
BAD += ["\u2028", "\u2029", "\ufeff"]


def _takes(kind: Any, text: str) -> bool:
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(text), type=kind) == text)
    except msgspec.ValidationError:
        return False


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", [Line, Text, Address])
@pytest.mark.parametrize("around", ["{}b@example.org", "b{}ob@example.org", "bob@example.org{}"])
def test_typed_text_refuses_what_cannot_be_seen(kind: Any, bad: str, around: str) -> None:
    assert _takes(kind, around.format(""))
    assert not _takes(kind, around.format(bad))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\t"])
def test_a_line_is_one_line_to_its_very_end(end: str) -> None:
    assert not _takes(Line, f"Bob{end}")
    assert not _takes(Address, f"bob@example.org{end}")
    assert _takes(Text, f"Bob{end}")


def test_a_line_has_something_to_read_and_fits() -> None:
    assert not _takes(Line, "")
    assert not _takes(Line, "   ")
    assert not _takes(Line, "\u00a0")
    assert _takes(Line, "Jürgen Müller-Łukasz 李 🙂")
    assert _takes(Line, "x" * 200)
    assert not _takes(Line, "x" * 201)
    assert _takes(Text, "x" * 10_000)
    assert not _takes(Text, "x" * 10_001)


def test_patterns_mean_the_same_in_the_api_reference() -> None:
    """JSON Schema wants ECMAScript, which knows no \\Z, \\A or inline flags."""
    for kind in (Line, Text, Address):
        pattern = msgspec.json.schema(kind)["pattern"]
        assert not any(mark in pattern for mark in (r"\Z", r"\A", "(?i", "(?P", r"\U"))


def _wide(text: str) -> str:
    """In full-width letters, as East Asian keyboards give them."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("bob@example.org", "bob@example.org"),
        ("  Bob@EXAMPLE.org\n", "bob@example.org"),
        ("bob+tag@example.org", "bob+tag@example.org"),
        ("b.o.b@gmail.com", "b.o.b@gmail.com"),
        (_wide("bob@example.org"), "bob@example.org"),
        ("bob@Bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
        ("bob@XN--BCHER-KVA.example", "bob@xn--bcher-kva.example"),
        ("bob@example。org", "bob@example.org"),
        ("JÜRGEN@example.org", "jürgen@example.org"),
        ("ju\u0308rgen@example.org", "jürgen@example.org"),
        ("j\u030c@example.org", "\u01f0@example.org"),  # folding takes it apart
        ("STRASSE@example.org", "strasse@example.org"),
        ("straße@example.org", "strasse@example.org"),
        ("bob@straße.example", "bob@xn--strae-oqa.example"),  # another domain than strasse.example
        ("o'neil!#$%&*/=?^_`{|}~-@example.org", "o'neil!#$%&*/=?^_`{|}~-@example.org"),
    ],
)
def test_canonical_address(raw: str, canonical: str) -> None:
    assert canonical_address(raw) == canonical


@pytest.mark.parametrize(
    "raw",
    [
        "", "@", "bob", "bob@", "@example.org", "bob@example", "bob@localhost", "a@b@example.org",
        "bob@example..org", "bob@.example.org", "bob@example.org.", "bob@-example.org", "bob@exa mple.org",
        "bob@exa_mple.org", ".bob@example.org", "bob.@example.org", "b..ob@example.org", '"b ob"@example.org',
        "b ob@example.org", "bob@[127.0.0.1]", "bob@127.0.0.1", "bob@1.2.3.4", "Bob <bob@example.org>",
        "bob@example.org, eve@example.org", "bob@example.org;eve@example.org", "bob(x)@example.org",
        "b\x00ob@example.org", "b\u202eob@example.org", "b\u200bob@example.org", "bob\n@example.org",
        "bob@example.org\nBcc: eve@example.org", "bob@xn--a.org", "\ud800@example.org", "bob@\ud800.org",
        "bob@☃.example", "x" * 65 + "@example.org", "ü" * 33 + "@example.org", "bob@" + "x" * 64 + ".org",
        "bob@" + "x." * 130 + "org", "x" * 1_000_000, "@" * 300,
        "=?utf-8?q?eve=40example.net?=@example.org",
    ],
)  # fmt: skip
def test_what_no_plain_mail_can_be_sent_to_is_no_address(raw: str) -> None:
    with pytest.raises(AddressMalformed) as caught:
        canonical_address(raw)
    assert caught.value.status == 400
    assert caught.value.params == {"field": "email"}


# The dotless i folds to itself, though its capital is I: two letters, and two addresses, to Unicode and to us.
_letters = st.characters(categories=["Ll", "Lu", "Lt", "Lo", "Lm", "Nd", "Mn"], exclude_characters="\u0131")
_locals = st.text(_letters | st.sampled_from("+-_.'"), min_size=1, max_size=20)
_domains = st.text(st.sampled_from("abcxyzABCXYZäÖß0-"), min_size=1, max_size=12).map(lambda name: f"{name}.example")


def _canonical(raw: str) -> str:
    try:
        return canonical_address(raw)
    except AddressMalformed:
        assume(False)
        raise


@given(_locals, _domains)
def test_canonical_addresses_are_their_own_canonical_form(local: str, domain: str) -> None:
    canonical = _canonical(f"{local}@{domain}")
    assert canonical_address(canonical) == canonical
    assert canonical_address(f" {canonical}\t") == canonical


@given(_locals, _domains)
def test_case_never_makes_another_address(local: str, domain: str) -> None:
    canonical = _canonical(f"{local}@{domain}")
    assume("ß" not in domain)  # in a domain it is a letter of its own (IDNA 2008), though SS is its capital
    for spelling in (str.upper, str.lower, str.swapcase, str.title):
        assert canonical_address(spelling(local) + "@" + spelling(domain)) == canonical


@given(_locals, _domains, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_composition_never_makes_another_address(local: str, domain: str, form: Any) -> None:
    canonical = _canonical(f"{local}@{domain}")
    assert canonical_address(unicodedata.normalize(form, f"{local}@{domain}")) == canonical


@given(st.text(max_size=100))
def test_any_text_has_a_canonical_form_or_is_no_address(raw: str) -> None:
    try:
        canonical = canonical_address(raw)
    except AddressMalformed:
        return
    assert canonical_address(canonical) == canonical
    canonical.encode()


def test_a_masked_address_shows_one_letter() -> None:
    assert masked_address("bob@example.org") == "b…@example.org"
    assert masked_address("b@example.org") == "b…@example.org"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Jürgen Müller-Łukasz", "Jürgen Müller-Łukasz"),
        ("J.R.R. Tolkien", "J.R.R. Tolkien"),
        ("St. Mary's & Co. e.V.", "St. Mary's & Co. e.V."),
        ("Dr.Müller", "Dr. Müller"),
        ("Beratung: Nord/Süd", "Beratung: Nord/Süd"),
        ("李小龍", "李小龍"),
        ("You won! https://evil.example/x?y=1 click", "You won! click"),
        ("HTTP://EVIL.EXAMPLE", ""),
        ("http:/\\evil.example", ""),
        ("//evil.example/x", ""),
        ("\\\\evil\\share", ""),
        ("www.evil.example", ""),
        ("see(www.evil.example)", ""),
        ("evil.example", "evil. example"),
        ("evil.example/path", "evil. example/path"),
        ("evil。example", "evil。 example"),
        (_wide("evil.example"), "evil. example"),
        ("e\u200bvil.exa\u200dmple", "evil. example"),
        ("h\u200bttps:\u200b//evil.example", ""),
        ("Bob <bob@evil.example>", "Bob"),
        ("call tel:+4930123", "call"),
        ("javascript:alert(1)", ""),
        ("Bob\r\nBcc: eve", "Bob Bcc: eve"),
        ("Bob\x00\u202elive\u2066", "Bob live"),
        ("  a \u2028 b\t", "a b"),
    ],
)
def test_plain_name(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@given(st.text(max_size=60) | st.text(st.sampled_from("aB1.。:/\\@ w\u200b\u202e\nhtpsil-"), max_size=40))
def test_a_plain_name_holds_nothing_that_a_mail_program_makes_a_link_of(name: str) -> None:
    plain = plain_name(name)
    assert plain_name(plain) == plain
    assert not any(mark in plain for mark in ("://", "@", "//", "\\\\", "\n", "\r"))
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in plain)
