"""Every word on identity's pages, German and English side by side (T-15). A test fails on a key without a text, on a
text for two keys, and on an error that a page can meet and nobody explains.
"""

from collections.abc import Mapping
from typing import Final

from services.identity.pages.connection_strings import CONNECTION_STRINGS

LANGUAGES: Final = ("de", "en")

STRINGS: Final[Mapping[str, tuple[str, str]]] = {
    **CONNECTION_STRINGS,
    # Everywhere
    "product": ("Control Centre", "Control Centre"),
    "imprint": ("Impressum", "Imprint"),
    "privacy": ("Datenschutz", "Privacy"),
    "language": ("English", "Deutsch"),
    "back_to_sign_in": ("Zur Anmeldung", "Go to sign-in"),
    "problem": ("Das hat nicht geklappt", "That did not work"),
    # Signing in
    "sign_in": ("Anmelden", "Sign in"),
    "login": ("Anmeldename oder E-Mail-Adresse", "Login name or e-mail address"),
    "address": ("E-Mail-Adresse", "E-mail address"),
    "password": ("Passwort", "Password"),
    "forgot": ("Passwort vergessen?", "Forgot your password?"),
    "continue_as": ("Weiter als {who}", "Continue as {who}"),
    "someone_else": ("Mit einem anderen Zugang anmelden", "Sign in with another access"),
    "no_access_yet": (
        "Sie sind als {who} angemeldet und haben hier keinen Zugang.",
        "You are signed in as {who} and have no access here.",
    ),
    # Signed in
    "signed_in_as": ("Angemeldet als {who}", "Signed in as {who}"),
    "welcome": ("Willkommen, {name}", "Welcome, {name}"),
    "your_tenants": ("Wohin möchten Sie?", "Where would you like to go?"),
    "no_tenants": (
        "Zurzeit haben Sie bei keinem Mandanten Zugang.",
        "At the moment you have no access to any tenant.",
    ),
    "open_tenant": ("Zu {tenant}", "Go to {tenant}"),
    "switch_tenant": ("Mandanten wechseln", "Switch tenant"),
    "sign_out": ("Abmelden", "Sign out"),
    "sessions": ("Ihre Sitzungen", "Your sessions"),
    "this_session": ("Diese Sitzung", "This session"),
    "since": ("Angemeldet seit {time}", "Signed in since {time}"),
    "end_session": ("Beenden", "End"),
    "end_others": ("Alle anderen beenden", "End all others"),
    "unknown_agent": ("Unbekannter Browser", "Unknown browser"),
    "back": ("Zurück", "Back"),
    # Passwords
    "change_password": ("Passwort ändern", "Change password"),
    "current_password": ("Bisheriges Passwort", "Current password"),
    "new_password": ("Neues Passwort", "New password"),
    "password_hint": (
        "Mindestens 12 Zeichen, alle sind erlaubt. Mehrere Wörter, die nur Ihnen zusammen einfallen, sind gut.",
        "At least 12 characters, any of them. Several words that only you would put together are good.",
    ),
    "save_password": ("Passwort speichern", "Save password"),
    "must_change": (
        "Ihr Passwort wurde Ihnen übergeben. Wählen Sie jetzt ein eigenes, das nur Sie kennen.",
        "Your password was handed to you. Choose one of your own now, which nobody else knows.",
    ),
    "password_changed": (
        "Ihr Passwort ist geändert. Alle anderen Sitzungen sind beendet.",
        "Your password is changed. All other sessions have ended.",
    ),
    "password_set": (
        "Ihr Passwort ist gesetzt. Melden Sie sich jetzt damit an.",
        "Your password is set. Sign in with it now.",
    ),
    "forgot_intro": (
        "Wir schicken Ihnen einen Link, mit dem Sie ein neues Passwort wählen.",
        "We send you a link with which you choose a new password.",
    ),
    "send_link": ("Link schicken", "Send link"),
    "link_sent": (
        "Wenn wir Sie kennen, ist eine E-Mail unterwegs. Sehen Sie auch im Spam-Ordner nach.",
        "If we know you, a mail is on its way. Look into the spam folder, too.",
    ),
    "reset_title": ("Neues Passwort wählen", "Choose a new password"),
    # Invitations
    "invitation": ("Einladung", "Invitation"),
    "invited_to": ("{tenant} lädt Sie ein", "{tenant} invites you"),
    "invited_address": ("Die Einladung gilt für {address}.", "The invitation is for {address}."),
    "until": ("Sie gilt bis {time}.", "It is good until {time}."),
    "choose_password": (
        "Wählen Sie ein Passwort. Damit nehmen Sie die Einladung an.",
        "Choose a password. By that you accept the invitation.",
    ),
    "accept": ("Einladung annehmen", "Accept invitation"),
    "known_person": (
        "Sie haben schon einen Zugang mit dieser Adresse. Melden Sie sich an, um die Einladung anzunehmen.",
        "You have an access with this address already. Sign in to accept the invitation.",
    ),
    "confirm_person": (
        "Sie sind angemeldet. Nehmen Sie die Einladung mit einem Klick an.",
        "You are signed in. Accept the invitation with one click.",
    ),
    "mismatch": (
        "Angemeldet ist {signed_in}, eingeladen ist {invited}. Die Einladung bleibt gültig.",
        "{signed_in} is signed in, {invited} is invited. The invitation stays good.",
    ),
    "mismatch_somebody": (
        "Hier ist jemand anderes angemeldet. Eingeladen ist {invited}. Die Einladung bleibt gültig.",
        "Somebody else is signed in here. {invited} is invited. The invitation stays good.",
    ),
    "switch_person": ("Abmelden und als {invited} fortfahren", "Sign out and go on as {invited}"),
    "decline_summary": ("Sie möchten nicht?", "You would rather not?"),
    "decline_explained": (
        "Lehnen Sie ab, dann wirkt der Link nicht mehr. {tenant} kann Sie neu einladen.",
        "If you decline, the link stops working. {tenant} can invite you again.",
    ),
    "decline": ("Einladung ablehnen", "Decline invitation"),
    "declined": ("Sie haben die Einladung abgelehnt.", "You have declined the invitation."),
    "renew": ("Neuen Link schicken", "Send me a new link"),
    "renewed": (
        "Wir haben Ihre Bitte weitergegeben. Wenn es möglich ist, bekommen Sie bald eine neue E-Mail.",
        "We have passed on your request. If it is possible, you will get a new mail soon.",
    ),
    "accepted_waiting": (
        "Die Einladung ist angenommen. Anmelden können Sie sich ab {time}.",
        "The invitation is accepted. You can sign in from {time} on.",
    ),
    "accepted_waiting_open": (
        "Die Einladung ist angenommen. Anmelden können Sie sich, sobald Ihr Zugang beginnt.",
        "The invitation is accepted. You can sign in as soon as your access begins.",
    ),
    # What can stand in the way
    "error.sign_in_refused": (
        "Name oder Passwort stimmen nicht, oder es gibt hier keinen Zugang.",
        "Name or password is wrong, or there is no access here.",
    ),
    "error.too_many_tries": (
        "Zu viele Versuche. Bitte warten Sie {retry_after} Sekunden.",
        "Too many attempts. Please wait {retry_after} seconds.",
    ),
    "error.access_barred.locked": ("Ihr Zugang ist gesperrt.", "Your access is locked."),
    "error.access_barred.deactivated": ("Ihr Zugang ist deaktiviert.", "Your access is deactivated."),
    "error.access_barred.outside_dates": (
        "Ihr Zugang hat noch nicht begonnen oder ist beendet.",
        "Your access has not begun yet, or is over.",
    ),
    "error.access_barred.marked_deleted": (
        "Ihr Zugang ist zur Löschung vorgemerkt.",
        "Your access is marked for deletion.",
    ),
    "error.access_blocked.locked": (
        "Ihr Zugang ist zurzeit gesperrt. Die Einladung bleibt gültig; versuchen Sie es später noch einmal.",
        "Your access is locked at the moment. The invitation stays good; try again later.",
    ),
    "error.access_blocked.deactivated": (
        "Ihr Zugang ist zurzeit deaktiviert. Die Einladung bleibt gültig.",
        "Your access is deactivated at the moment. The invitation stays good.",
    ),
    "error.access_blocked.outside_dates": (
        "Die Zeit Ihres Zugangs ist vorbei.",
        "The time of your access is over.",
    ),
    "error.access_blocked.marked_deleted": (
        "Der eingeladene Zugang ist zur Löschung vorgemerkt.",
        "The invited access is marked for deletion.",
    ),
    "error.no_access_here": (
        "Sie haben bei diesem Mandanten keinen Zugang.",
        "You have no access to this tenant.",
    ),
    "error.tenant_closed": ("Dieser Mandant ist geschlossen.", "This tenant is closed."),
    "error.credential_expired": (
        "Das übergebene Passwort ist abgelaufen. Bitten Sie um ein neues.",
        "The password that you were given has expired. Ask for a new one.",
    ),
    "error.must_change_password": (
        "Wählen Sie zuerst ein eigenes Passwort.",
        "Choose a password of your own first.",
    ),
    "error.wrong_password": ("Das bisherige Passwort stimmt nicht.", "The current password is wrong."),
    "error.password_refused.too_short": (
        "Das Passwort ist zu kurz: mindestens {shortest} Zeichen.",
        "The password is too short: at least {shortest} characters.",
    ),
    "error.password_refused.too_long": (
        "Das Passwort ist zu lang: höchstens {longest} Zeichen.",
        "The password is too long: at most {longest} characters.",
    ),
    "error.password_refused.common": (
        "Dieses Passwort wird zu oft benutzt und zuerst geraten. Wählen Sie ein anderes.",
        "This password is used too often and guessed first. Choose another.",
    ),
    "error.password_refused.about_you": (
        "Das Passwort besteht aus Ihrem Namen oder dem des Mandanten. Wählen Sie ein anderes.",
        "The password is made of your name or the tenant's. Choose another.",
    ),
    "error.invitation_expired": (
        "Diese Einladung ist abgelaufen. Wir können Ihnen einen neuen Link schicken.",
        "This invitation has expired. We can send you a new link.",
    ),
    "error.invitation_replaced": (
        "Dieser Link wurde durch einen neueren ersetzt. Nehmen Sie den aus der neuesten E-Mail.",
        "This link was replaced by a newer one. Take the one in the newest mail.",
    ),
    "error.invitation_revoked": (
        "Diese Einladung wurde zurückgezogen.",
        "This invitation was withdrawn.",
    ),
    "error.invitation_declined": (
        "Diese Einladung wurde abgelehnt. Möchten Sie doch kommen, bitten Sie um eine neue.",
        "This invitation was declined. If you want to come after all, ask for a new one.",
    ),
    "error.invitation_accepted": (
        "Diese Einladung ist schon angenommen. Melden Sie sich an.",
        "This invitation has been accepted already. Sign in.",
    ),
    "error.no_seat": (
        "Zurzeit ist kein Platz frei. {tenant} wurde benachrichtigt.",
        "No seat is free at the moment. {tenant} has been told.",
    ),
    "error.person_known": (
        "Mit dieser Adresse gibt es schon einen Zugang: melden Sie sich an.",
        "There is an access with this address already: sign in.",
    ),
    "error.already_member": ("Sie sind hier schon Mitglied.", "You are a member here already."),
    "error.account_mismatch": (
        "Angemeldet ist jemand anderes als eingeladen.",
        "Somebody else is signed in than was invited.",
    ),
    "error.link_unreadable": (
        "Der Link ist unvollständig. Kopieren Sie ihn ganz aus der E-Mail.",
        "The link is incomplete. Copy all of it from the mail.",
    ),
    "error.link_for_another": (
        "Dieser Link ist für etwas anderes.",
        "This link is for something else.",
    ),
    "error.link_not_valid": (
        "Dieser Link gilt nicht, oder nicht mehr.",
        "This link is not good, or not any more.",
    ),
    "error.link_missing": (
        "Öffnen Sie bitte den Link aus der E-Mail noch einmal.",
        "Please open the link in the mail once more.",
    ),
    "error.reset_expired": (
        "Dieser Link ist abgelaufen. Fordern Sie einen neuen an.",
        "This link has expired. Ask for another one.",
    ),
    "error.reset_used": (
        "Dieser Link wurde schon benutzt, oder es gibt einen neueren.",
        "This link was used already, or there is a newer one.",
    ),
    "error.page_expired": (
        "Diese Seite war zu lange offen, oder Ihr Browser nimmt keine Cookies an. Bitte noch einmal.",
        "This page was open for too long, or your browser takes no cookies. Please try again.",
    ),
    "error.unauthenticated": ("Bitte melden Sie sich an.", "Please sign in."),
    "error.cross_site": (
        "Diese Anfrage kam nicht von unseren Seiten.",
        "This request did not come from our pages.",
    ),
    "error.not_found": ("Diese Seite gibt es nicht.", "There is no such page."),
    "error.malformed": (
        "Die Eingabe ist unvollständig.",
        "What you entered is incomplete.",
    ),
    "error.unavailable": (
        "Ein Teil des Systems ist gerade nicht erreichbar. Bitte versuchen Sie es gleich noch einmal.",
        "A part of the system is away. Please try again in a moment.",
    ),
}


def text(key: str, language: str, **values: object) -> str:
    """Raises KeyError for a key that nobody has written."""
    return STRINGS[key][LANGUAGES.index(language)].format(**values)


def language_of(*wanted: str | None) -> str:
    """The first that there are words for; de-AT counts as de. English where there is none."""
    for one in wanted:
        language = (one or "").replace("_", "-").partition("-")[0].strip().lower()
        if language in LANGUAGES:
            return language
    return "en"


def accepted(header: str) -> list[str]:
    """An Accept-Language header's languages, the dearest first (RFC 9110 section 12.5.4)."""
    found = []
    for part in header.split(",")[:20]:
        language, _, quality = part.partition(";")
        weight = quality.strip().removeprefix("q=") or "1"
        found.append((_number(weight), language.strip()))
    return [language for weight, language in sorted(found, key=lambda pair: -pair[0]) if weight > 0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
