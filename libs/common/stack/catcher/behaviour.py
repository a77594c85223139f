"""What the catcher has been told to do instead of accepting mail."""

import threading
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

type Moment = Literal["connect", "mail", "rcpt", "data"]


class Rule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The first rule that fits is applied, `count` times (without: until told otherwise).

    reply: answer with code, enhanced code and text. drop: close the connection instead of answering; at `data` this
    is after the body, and `record` says whether the mail counts as received. stall: answer after `seconds`, as usual.
    """

    action: Literal["reply", "drop", "stall"]
    at: Moment | None = None
    """When: at the greeting, MAIL, RCPT or after DATA. Without: reply at rcpt, the others at data."""
    to: str = "*"
    """Pattern of recipients (`*@globex.test`); without meaning before RCPT."""
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    code: Annotated[int, msgspec.Meta(ge=400, le=599)] = 451
    enhanced: Annotated[str, msgspec.Meta(pattern=r"^([45]\.\d{1,3}\.\d{1,3})?$")] = ""
    text: Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]*$")] = "Told to refuse"
    record: bool = True
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 30

    @property
    def moment(self) -> Moment:
        return self.at or ("rcpt" if self.action == "reply" else "data")

    @property
    def reply(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


class Behaviour:
    """The rules in force; read by the mail side, written by the HTTP side."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def read(self) -> list[Rule]:
        with self._lock:
            return list(self._rules)

    def write(self, rules: Sequence[Rule]) -> None:
        with self._lock:
            self._rules = list(rules)

    def take(self, moment: Moment, recipients: Sequence[str] = ("",)) -> Rule | None:
        """The rule for this moment, if there is one; counts it as used."""
        with self._lock:
            for rule in self._rules:
                if rule.moment == moment and any(fnmatchcase(one.lower(), rule.to.lower()) for one in recipients):
                    if rule.count is not None:
                        rule.count -= 1
                        if not rule.count:
                            self._rules.remove(rule)
                    return rule
        return None
