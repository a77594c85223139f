"""Every word about identity providers, German and English side by side: for who signs in, and for who sets it up."""

from collections.abc import Mapping
from typing import Final

_SIGNING_IN: Final = {
    "sign_in_with": ("Anmelden mit {provider}", "Sign in with {provider}"),
    "accept_by_provider": (
        "Oder nehmen Sie die Einladung mit dem Konto Ihrer Organisation an:",
        "Or accept the invitation with your organisation's account:",
    ),
    "continue_with": ("Weiter mit {provider}", "Continue with {provider}"),
    "connect_with": ("Mit {provider} verbinden", "Connect with {provider}"),
    "connected": (
        "Verbunden. Ab jetzt können Sie sich auch damit anmelden.",
        "Connected. From now on you can sign in with it, too.",
    ),
    "leaving": ("Weiter zur Anmeldung", "On to sign-in"),
    "leaving_explained": (
        "Sie werden zum Anmeldedienst Ihrer Organisation geleitet.",
        "You are being taken to your organisation's sign-in.",
    ),
    "leave_now": ("Weiter", "Continue"),
    "signed_out": ("Abgemeldet", "Signed out"),
    "signed_out_here": ("Sie sind hier abgemeldet.", "You are signed out here."),
    "sign_out_there": ("Auch bei {provider} abmelden", "Sign out of {provider}, too"),
    "error.forbidden": ("Das dürfen Sie nicht.", "You may not do this."),
    "error.subject_taken": (
        "Dieses Konto des Anmeldedienstes gehört hier schon zu jemand anderem.",
        "This account of the sign-in service belongs to somebody else here.",
    ),
}

_SETTING_UP: Final = {
    "connections": ("Anmeldung über Ihren Anmeldedienst", "Sign-in with your identity provider"),
    "no_connections": ("Noch ist keiner verbunden.", "None is connected yet."),
    "new_connection": ("Anmeldedienst verbinden", "Connect a provider"),
    "new_connection_hint": (
        "Legen Sie beim Anmeldedienst eine Anwendung (OpenID Connect, vertraulicher Client) an und tragen Sie ein, was er Ihnen nennt. Die Adressen für die Gegenseite sehen Sie danach.",  # noqa: E501
        "Make an application (OpenID Connect, confidential client) at the provider and enter what it tells you. The addresses for the other side are shown next.",  # noqa: E501
    ),
    "connection_name": ("Name", "Name"),
    "connection_name_hint": ("Er steht auf der Schaltfläche der Anmeldeseite.", "It stands on the sign-in button."),
    "issuer": ("Adresse des Ausstellers (Issuer)", "Issuer address"),
    "issuer_hint": ("Zum Beispiel https://login.example.org", "For example https://login.example.org"),
    "client_id": ("Client-ID", "Client ID"),
    "client_secret": ("Client-Geheimnis (Secret)", "Client secret"),
    "client_secret_hint": ("Leer lassen, um das bisherige zu behalten.", "Leave empty to keep the present one."),
    "scopes": ("Bereiche (Scopes)", "Scopes"),
    "connect_provider": ("Verbinden", "Connect"),
    "admission": ("Wer kommt damit herein?", "Who may come in by it?"),
    "admission.off": (
        "Nur Mitglieder, die ihren Zugang verbunden haben",
        "Only members who have connected their access",
    ),
    "admission.invited": ("Auch wer eingeladen ist", "Whoever is invited, too"),
    "admission.automatic": ("Alle, die der Anmeldedienst kennt", "Everybody whom the provider knows"),
    "state.draft": ("Entwurf", "Draft"),
    "state.enabled": ("Eingeschaltet", "Enabled"),
    "state.disabled": ("Ausgeschaltet", "Disabled"),
    "step_copy": ("1. Beim Anmeldedienst eintragen", "1. Enter at the provider"),
    "step_copy_hint": ("Kopieren Sie diese Adressen genau so.", "Copy these addresses exactly."),
    "redirect_uri": ("Weiterleitungsadresse (Redirect URI)", "Redirect URI"),
    "logout_uri": ("Adresse nach dem Abmelden", "Post-logout redirect URI"),
    "backchannel_uri": ("Abmeldung im Hintergrund (Back-Channel Logout)", "Back-channel logout URI"),
    "step_discover": ("2. Was der Anmeldedienst von sich sagt", "2. What the provider says of itself"),
    "discovered": (
        "Abgefragt am {time}; Schlüssel: {keys}.",
        "Asked on {time}; keys: {keys}.",
    ),
    "not_discovered": (
        "Der Anmeldedienst wurde noch nicht erreicht.",
        "The provider has not been reached yet.",
    ),
    "reach_first": ("Dafür muss der Anmeldedienst erst erreicht sein.", "The provider has to be reached first."),
    "discover": ("Noch einmal abfragen", "Ask again"),
    "step_test": ("3. Probe", "3. Test"),
    "step_test_hint": (
        "Melden Sie sich beim Anmeldedienst an. Hier ändert das nichts; Sie sehen danach, was er schickt und was daraus wird.",  # noqa: E501
        "Sign in at the provider. Nothing changes here; then you see what it sends and what that comes to.",
    ),
    "test_sign_in": ("Anmeldung ausprobieren", "Try a sign-in"),
    "test_of": ("Letzte Probe: {time}", "Last test: {time}"),
    "test_good": ("Die Antwort ist gültig.", "The answer is good."),
    "claims_received": ("Empfangene Angaben", "Claims received"),
    "step_map": ("4. Zuordnung", "4. Mapping"),
    "claim_email": ("Angabe mit der E-Mail-Adresse", "Claim with the e-mail address"),
    "claim_name": ("Angabe mit dem Namen", "Claim with the name"),
    "claim_locale": ("Angabe mit der Sprache", "Claim with the language"),
    "claim_groups": ("Angabe mit den Gruppen", "Claim with the groups"),
    "claim_groups_hint": (
        "Leer: der Anmeldedienst vergibt keine Rollen.",
        "Empty: the provider gives no roles.",
    ),
    "group_lines": ("Gruppen und was sie geben", "Groups and what they give"),
    "group_lines_hint": (
        "Je Zeile: Gruppe = admin, counsellor, coordinator oder supervisor; mehrere mit Komma.",
        "One a line: group = admin, counsellor, coordinator or supervisor; several with commas.",
    ),
    "save": ("Speichern", "Save"),
    "preview": ("Zuordnung ausprobieren", "Try the mapping"),
    "preview_claims": ("Angaben (JSON)", "Claims (JSON)"),
    "show_preview": ("Zeigen, was daraus wird", "Show what they come to"),
    "mapped.subject": ("Kennung beim Anmeldedienst", "Id at the provider"),
    "mapped.email": ("Bestätigte E-Mail-Adresse", "Verified e-mail address"),
    "mapped.name": ("Angezeigter Name", "Display name"),
    "mapped.roles": ("Rollen und Berechtigungsgruppen", "Roles and permission groups"),
    "mapped.unchanged": ("bleiben, wie sie sind", "stay as they are"),
    "step_enable": ("5. Einschalten", "5. Enable"),
    "enable_hint": (
        "Danach steht die Schaltfläche auf der Anmeldeseite.",
        "Then the button stands on the sign-in page.",
    ),
    "enable": ("Einschalten", "Enable"),
    "disable": ("Ausschalten und alle abmelden, die damit kamen", "Disable, and sign out who came by it"),
    "change_connection": ("Ändern oder entfernen", "Change or remove"),
    "delete_hint": (
        "Entfernen meldet alle ab, die damit kamen, und nimmt die Rollen, die er vergeben hat. Mitglieder bleiben.",
        "Removing signs out who came by it, and takes the roles that it gave. Members stay.",
    ),
    "delete_connection": ("Verbindung entfernen", "Remove the connection"),
    "connection_saved": ("Gespeichert.", "Saved."),
    "connection_tested": ("Die Probe ist beendet.", "The test is over."),
    "recent": ("Letzte Anmeldungen", "Recent sign-ins"),
    "purpose.sign_in": ("Anmeldung", "Sign-in"),
    "purpose.test": ("Probe", "Test"),
    "purpose.connect": ("Zugang verbinden", "Connecting an access"),
    "outcome.done": ("Gelungen", "Done"),
    "error.too_many_connections": (
        "Mehr als {most} Verbindungen sind nicht möglich.",
        "More than {most} connections are not possible.",
    ),
    "error.not_discovered": (
        "Der Anmeldedienst wurde noch nicht erreicht. Fragen Sie ihn zuerst ab.",
        "The provider has not been reached. Ask it first.",
    ),
    "error.owner_not_mapped": (
        "Eigentümer wird niemand durch eine Gruppe.",
        "Nobody becomes owner by a group.",
    ),
    "error.mapping_not_allowed": (
        "Eine Zuordnung gibt nichts, was Sie nicht selbst vergeben dürfen.",
        "A mapping gives nothing that you may not give yourself.",
    ),
    "error.outdated": (
        "Jemand anderes hat das inzwischen geändert. Laden Sie die Seite neu.",
        "Somebody else has changed this meanwhile. Load the page again.",
    ),
    "error.malformed.group_line": (
        "Diese Zeile ist nicht zu verstehen: {line}",
        "This line cannot be read: {line}",
    ),
    "error.malformed.claims": ("Das ist kein JSON-Objekt.", "This is no JSON object."),
}

_REMARKS: Final = {
    "no_name": ("Es kommt kein Name.", "No name comes."),
    "no_email": ("Es kommt keine E-Mail-Adresse.", "No e-mail address comes."),
    "email_malformed": ("Das ist keine E-Mail-Adresse.", "This is no e-mail address."),
    "email_not_verified": (
        "Der Anmeldedienst sagt nicht, dass die Adresse bestätigt ist (email_verified ist nicht true).",
        "The provider does not say that the address is verified (email_verified is not true).",
    ),
    "email_verified_missing": (
        "Es fehlt, ob die Adresse bestätigt ist (email_verified).",
        "Whether the address is verified (email_verified) is missing.",
    ),
    "no_groups": (
        "Die Angabe mit den Gruppen fehlt: Rollen bleiben, wie sie sind.",
        "The claim with the groups is missing: roles stay as they are.",
    ),
    "no_group_matches": ("Keine Gruppe ist zugeordnet.", "No group is mapped."),
    "not_grantable": (
        "Manches darf, wer die Zuordnung bestätigt hat, nicht vergeben.",
        "Who confirmed the mapping may not give some of it.",
    ),
}

_ADMISSION: Final = {
    "off": (
        "Ihr Zugang ist nicht mit diesem Anmeldedienst verbunden. Melden Sie sich wie gewohnt an und verbinden Sie ihn.",  # noqa: E501
        "Your access is not connected with this sign-in. Sign in as usual, and connect it.",
    ),
    "not_invited": (
        "Für Ihre Adresse gibt es hier keine offene Einladung. Bitten Sie um eine.",
        "There is no open invitation for your address here. Ask for one.",
    ),
    "owner": (
        "Diese Einladung macht Sie zur Eigentümerin oder zum Eigentümer: nehmen Sie sie mit dem Link aus der E-Mail an.",  # noqa: E501
        "This invitation makes you an owner: accept it by the link in the mail.",
    ),
    "no_seat": (
        "Zurzeit ist kein Platz frei. {tenant} sieht, dass Sie da waren.",
        "No seat is free at the moment. {tenant} sees that you were here.",
    ),
    "active": (
        "Mit dieser Adresse gibt es hier schon einen Zugang. Melden Sie sich wie gewohnt an und verbinden Sie ihn.",
        "There is an access with this address here already. Sign in as usual, and connect it.",
    ),
    "revoked": ("Ihr Zugang wurde entzogen.", "Your access was withdrawn."),
    "blocked": ("Ihr Zugang ist gesperrt oder beendet.", "Your access is blocked, or is over."),
    "deleted": ("Diesen Zugang gibt es nicht mehr.", "This access is no more."),
    "refused": ("Sie wurden nicht hereingelassen.", "You were not let in."),
    "session": (
        "Melden Sie sich mit Ihrem eigenen Passwort an und verbinden Sie dann.",
        "Sign in with your own password, then connect.",
    ),
    "no_email": (
        "Der Anmeldedienst nennt Ihre E-Mail-Adresse nicht.",
        "The sign-in service does not tell your e-mail address.",
    ),
    "email_malformed": (
        "Ihre E-Mail-Adresse beim Anmeldedienst ist keine.",
        "Your e-mail address at the sign-in service is none.",
    ),
    "email_not_verified": (
        "Ihre E-Mail-Adresse ist beim Anmeldedienst nicht bestätigt.",
        "Your e-mail address is not verified at the sign-in service.",
    ),
    "email_verified_missing": (
        "Der Anmeldedienst sagt nicht, ob Ihre E-Mail-Adresse bestätigt ist.",
        "The sign-in service does not say whether your e-mail address is verified.",
    ),
}

_WAY: Final = {
    "state_missing": ("Dieser Rückweg ist unvollständig (state fehlt).", "This way back is incomplete (no state)."),
    "state": ("Diese Anmeldung wurde nicht hier begonnen.", "This sign-in was not begun here."),
    "connection": (
        "Diese Anmeldung wurde bei einem anderen Anmeldedienst begonnen.",
        "This sign-in was begun with another provider.",
    ),
    "no_cookie": (
        "Ihr Browser hat das Cookie dieser Anmeldung nicht. Beginnen Sie noch einmal.",
        "Your browser does not have the cookie of this sign-in. Begin again.",
    ),
    "browser": ("Diese Anmeldung begann in einem anderen Browser.", "This sign-in was begun in another browser."),
    "used": ("Diese Anmeldung ist schon benutzt. Beginnen Sie noch einmal.", "This sign-in is used. Begin again."),
    "late": ("Das hat zu lange gedauert. Beginnen Sie noch einmal.", "That took too long. Begin again."),
    "issuer": (
        "Die Antwort kam von einem anderen Aussteller als erwartet.",
        "The answer came from another issuer than expected.",
    ),
    "issuer_missing": ("Die Antwort nennt ihren Aussteller nicht.", "The answer does not name its issuer."),
    "code_missing": ("Die Antwort enthält keinen Code.", "The answer holds no code."),
    "disabled": ("Dieser Anmeldedienst ist ausgeschaltet.", "This provider is disabled."),
}

_REFUSED: Final = {
    "denied": ("Die Anmeldung wurde abgelehnt oder abgebrochen.", "The sign-in was refused or given up."),
    "error": ("Der Anmeldedienst meldet einen Fehler: {said}", "The provider reports an error: {said}"),
    "client": (
        "Der Anmeldedienst kennt Client-ID oder Geheimnis nicht.",
        "The provider does not take the client id or the secret.",
    ),
    "code": (
        "Der Anmeldedienst nimmt den Code nicht: er ist benutzt, abgelaufen oder nicht für uns.",
        "The provider does not take the code: it is used, expired, or not for us.",
    ),
    "token": ("Der Anmeldedienst gibt kein Token heraus.", "The provider gives no token."),
}

_REACHED: Final = {
    "missing": ("{what}: nicht gefunden.", "{what}: not found."),
    "not_allowed": (
        "{what}: die Adresse ist nicht erlaubt (nur https, öffentlich, ohne Umleitung).",
        "{what}: the address is not allowed (https only, public, no redirect).",
    ),
    "too_large": ("{what}: die Antwort ist zu groß.", "{what}: the answer is too large."),
    "too_slow": ("{what}: die Antwort dauert zu lange.", "{what}: the answer takes too long."),
    "unreachable": ("{what}: nicht erreichbar.", "{what}: cannot be reached."),
}
_WHAT: Final = {
    "discovery": ("Beschreibung des Anmeldedienstes", "The provider's description"),
    "keys": ("Schlüssel des Anmeldedienstes", "The provider's keys"),
    "token": ("Token-Adresse des Anmeldedienstes", "The provider's token endpoint"),
    "userinfo": ("Angaben des Anmeldedienstes zur Person", "The provider's user info"),
}

_UNFIT: Final = {
    "not_a_description": (
        "Unter der Adresse steht keine Beschreibung eines OpenID-Connect-Dienstes.",
        "There is no description of an OpenID Connect provider at the address.",
    ),
    "issuer": (
        "Der Dienst nennt sich {said}, eingetragen ist {asked}. Beides muss gleich sein, bis auf den letzten Schrägstrich.",  # noqa: E501
        "The provider calls itself {said}, entered is {asked}. Both must be the same, to the last slash.",
    ),
    "address": ("Die Adresse {field} des Dienstes ist keine sichere.", "The provider's address {field} is not safe."),
    "no_code_flow": ("Der Dienst bietet den Code-Ablauf nicht an.", "The provider has no code flow."),
    "no_pkce": ("Der Dienst beherrscht PKCE mit S256 nicht.", "The provider cannot do PKCE with S256."),
    "algorithms": (
        "Der Dienst unterschreibt mit keinem Verfahren, das wir annehmen.",
        "The provider signs with no algorithm that we take.",
    ),
    "client_authentication": (
        "Der Dienst nimmt kein Client-Geheimnis an.",
        "The provider takes no client secret.",
    ),
    "keys_not_readable": ("Die Schlüssel des Dienstes sind nicht lesbar.", "The provider's keys cannot be read."),
    "no_keys": (
        "Der Dienst hat keinen Schlüssel, der taugt (RSA ab 2048 Bit, EC, Ed25519).",
        "The provider has no key that will do (RSA from 2048 bits, EC, Ed25519).",
    ),
}

_ANSWER: Final = {
    "no_id_token": ("Es kam kein ID-Token (fehlt der Bereich openid?).", "No ID token came (is the scope openid missing?)."),  # noqa: E501
    "token_not_readable": ("Die Token-Antwort ist nicht lesbar.", "The token answer cannot be read."),
    "token_kind": ("Das Zugriffstoken ist von unbekannter Art.", "The access token is of an unknown kind."),
    "userinfo_not_readable": ("Die Angaben zur Person sind nicht lesbar.", "The user info cannot be read."),
    "userinfo_subject": ("Die Angaben sind über jemand anderen.", "The user info is about somebody else."),
    "not_a_token": ("Das Token ist keines.", "The token is none."),
    "encrypted": ("Das Token ist verschlüsselt; das wird nicht angenommen.", "The token is encrypted; that is not taken."),  # noqa: E501
    "unsigned": ("Das Token ist nicht unterschrieben.", "The token is not signed."),
    "algorithm": (
        "Das Token ist mit einem Verfahren unterschrieben, das nicht vereinbart ist: {said}",
        "The token is signed with an algorithm that is not agreed: {said}",
    ),
    "critical_header": ("Das Token verlangt, was wir nicht verstehen.", "The token demands what we do not understand."),
    "token_type": ("Das Token ist von anderer Art.", "The token is of another kind."),
    "unknown_key": ("Der Schlüssel des Tokens ist nicht bekannt.", "The token's key is not known."),
    "which_key": ("Das Token sagt nicht, welcher Schlüssel gilt.", "The token does not say which key it is."),
    "signature": ("Die Unterschrift des Tokens stimmt nicht.", "The token's signature is wrong."),
    "issuer": ("Das Token ist von einem anderen Aussteller: {said}", "The token is of another issuer: {said}"),
    "audience": ("Das Token ist für eine andere Anwendung.", "The token is for another application."),
    "azp_missing": (
        "Das Token ist für mehrere Anwendungen und sagt nicht, welche es bekam.",
        "The token is for several applications and does not say which one got it.",
    ),
    "azp": ("Das Token bekam eine andere Anwendung.", "The token was given to another application."),
    "exp_missing": ("Das Token sagt nicht, wann es endet.", "The token does not say when it ends."),
    "iat_missing": ("Das Token sagt nicht, wann es entstand.", "The token does not say when it was made."),
    "times": ("Die Zeiten des Tokens sind keine.", "The token's times are none."),
    "expired": ("Das Token ist abgelaufen.", "The token has expired."),
    "stale": ("Das Token ist zu alt.", "The token is too old."),
    "future": ("Das Token ist aus der Zukunft; stimmen die Uhren?", "The token is from the future; are the clocks right?"),  # noqa: E501
    "not_yet": ("Das Token gilt noch nicht.", "The token is not good yet."),
    "nonce": ("Das Token gehört zu einer anderen Anmeldung.", "The token belongs to another sign-in."),
    "nonce_missing": ("Das Token sagt nicht, zu welcher Anmeldung es gehört.", "The token does not say to which sign-in it belongs."),  # noqa: E501
    "at_hash": ("ID-Token und Zugriffstoken gehören nicht zusammen.", "ID token and access token do not belong together."),  # noqa: E501
    "subject_missing": ("Das Token sagt nicht, wer sich anmeldet.", "The token does not say who signs in."),
    "subject": ("Die Kennung im Token ist keine gültige.", "The id in the token is not a valid one."),
    "not_a_logout": ("Das ist keine Abmeldung.", "This is no logout."),
    "logout_nonce": ("Eine Abmeldung hat keine Nonce.", "A logout has no nonce."),
    "logout_jti": ("Die Abmeldung hat keine Nummer.", "The logout has no number."),
}  # fmt: skip


def _reached(error: str, *what: str) -> dict[str, tuple[str, str]]:
    return {
        f"{error}.{one}_{how}": (de.format(what=_WHAT[one][0]), en.format(what=_WHAT[one][1]))
        for one in what
        for how, (de, en) in _REACHED.items()
    }


def _under(prefix: str, words: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {f"{prefix}.{name}": said for name, said in words.items()}


CONNECTION_STRINGS: Final[Mapping[str, tuple[str, str]]] = {
    **_SIGNING_IN,
    **_SETTING_UP,
    **_under("error.remark", _REMARKS),
    **_under("error.not_admitted", _ADMISSION),
    **_under("error.sign_in_not_valid", _WAY),
    **_under("error.provider_refused", _REFUSED),
    **_under("error.provider_unfit", _UNFIT),
    **_reached("error.provider_unfit", "discovery", "keys"),
    **_under("error.answer_not_valid", _ANSWER),
    **_reached("error.answer_not_valid", "token", "userinfo"),
}
