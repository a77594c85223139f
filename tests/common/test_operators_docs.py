from pathlib import Path

import msgspec
import pytest

from libs.common.settings import Settings
from services.documents.settings import Settings as Documents
from services.identity.settings import Settings as Identity
from services.members.settings import Settings as Members
from services.notifier.settings import Settings as Notifier


@pytest.mark.parametrize("kind", [Identity, Members, Documents, Notifier])
def test_every_setting_is_in_the_operators_documentation(kind: type[Settings]) -> None:
    written = (Path(__file__).parents[2] / "docs" / "operators" / "settings.md").read_text()
    missing = [field.name.upper() for field in msgspec.structs.fields(kind) if f"`{field.name.upper()}`" not in written]
    assert missing == []
