"""A counsellor's documents about Bob, through the gateway: hers alone, and gone when she says so."""

import hashlib
import io
import zipfile
from typing import Any

from libs.common.stack.visitor import Visitor
from tests.journeys.world import Tenant, World

DOCUMENTS = "/documents/v1/documents"
REPORT = b"%PDF-1.7\n" + b"Bericht " * 1000


def _names(visitor: Visitor, member: Any) -> list[str]:
    return [one["name"] for one in visitor.ask("GET", f"{DOCUMENTS}?member_id={member['id']}")["items"]]


def _counsellor(world: World, tenant: Tenant, login: str) -> tuple[Any, Visitor]:
    return world.bring_in(tenant, login, roles=["member"], permission_groups=["counsellor"])


def test_a_counsellor_files_about_bob_and_the_owner_sees_nothing(world: World) -> None:
    """A-32 to A-36: upload in a form and straight to the store, list, zip, delete; the owner is blind."""
    tenant = world.tenant("acme")
    bob = world.add(tenant, "bob")
    _, carla = _counsellor(world, tenant, "carla")
    form: dict[str, Any] = {
        "data": {"member_id": bob["id"], "tags": ["Bericht"]},
        "files": {"file": ("../Bericht.pdf", REPORT)},
    }
    filed = carla.call("POST", DOCUMENTS, **form)
    assert filed.status_code == 201, filed.text
    document = filed.json()["document"]
    assert (document["name"], document["visibility"]) == ("Bericht.pdf", "private")

    film = bytes(range(256)) * 50_000
    digest = hashlib.sha256(film).hexdigest()
    announced = {"member_id": bob["id"], "name": "Film.bin", "size": len(film), "sha256": digest}
    upload = carla.ask("POST", "/documents/v1/uploads", announced)
    path, size = f"/documents/v1/uploads/{upload['id']}", upload["part_size"]
    parts = [film[at : at + size] for at in range(0, len(film), size)]
    wanted = [{"number": n, "sha256": hashlib.sha256(part).hexdigest()} for n, part in enumerate(parts, 1)]
    for signed, part in zip(carla.ask("POST", f"{path}/parts", {"parts": wanted})["parts"], parts, strict=True):
        sent = world.visitor()._http.put(signed["url"], content=part, headers=signed["headers"])
        assert sent.status_code == 200, sent.text
    assert carla.call("POST", f"{path}/complete").json()["state"] == "done"

    assert _names(carla, bob) == ["Film.bin", "Bericht.pdf"]
    assert _names(tenant.owner, bob) == []
    for way in ("", "/content", "/history"):
        assert tenant.owner.get(f"{DOCUMENTS}/{document['id']}{way}").status_code == 404
    assert tenant.owner.post(f"{DOCUMENTS}/{document['id']}/link").status_code == 404

    archive = zipfile.ZipFile(io.BytesIO(carla.get(f"{DOCUMENTS}/zip?member_id={bob['id']}").content))
    assert archive.testzip() is None
    assert archive.read("Bericht.pdf") == REPORT
    assert archive.read("Film.bin") == film
    link = carla.ask("POST", f"{DOCUMENTS}/{document['id']}/link")["url"]
    assert world.visitor()._http.get(link).content == REPORT
    piece = carla.get(f"{DOCUMENTS}/{document['id']}/content", headers={"Range": "bytes=0-7"})
    assert (piece.status_code, piece.content) == (206, REPORT[:8])

    for one in carla.ask("GET", f"{DOCUMENTS}?member_id={bob['id']}")["items"]:
        gone = carla.call("DELETE", f"{DOCUMENTS}/{one['id']}", headers={"If-Match": f'"{one["version"]}"'})
        assert gone.status_code == 204, gone.text
    assert _names(carla, bob) == []


def test_when_the_counsellor_leaves_a_successor_takes_over(world: World) -> None:
    """C-82, R-11: her access ends everywhere; staff are asked; private stays private, to the successor."""
    tenant = world.tenant("acme")
    bob = world.add(tenant, "bob")
    carla, as_carla = _counsellor(world, tenant, "carla")
    dora, as_dora = _counsellor(world, tenant, "dora")
    form: dict[str, Any] = {"data": {"member_id": bob["id"]}, "files": {"file": ("Bericht.pdf", REPORT)}}
    assert as_carla.call("POST", DOCUMENTS, **form).status_code == 201
    tenant.owner.ask("POST", f"/members/v1/members/{carla['id']}/revoke", {})
    asked = tenant.owner.wait(lambda: tenant.owner.ask("GET", "/documents/v1/hand-overs")["items"], "hand-over asked")
    assert [(one["member_id"], one["documents"]) for one in asked] == [(carla["id"], 1)]
    tenant.owner.wait(lambda: as_carla.get(DOCUMENTS).status_code == 401, "her token refused")

    path = f"/documents/v1/hand-overs/{asked[0]['id']}/settle"
    own = tenant.owner.post(path, {"choice": "successor", "successor_id": tenant.owner_id})
    assert (own.status_code, own.json()["code"]) == (422, "successor_not_allowed")
    tenant.owner.ask("POST", path, {"choice": "successor", "successor_id": dora["id"]})
    assert _names(as_dora, bob) == ["Bericht.pdf"]
    assert _names(tenant.owner, bob) == []
