"""Any S3: two servers, both ways of addressing, encryption, an own authority; and stores that fail in every way."""

import asyncio
import hashlib
import ssl
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from litestar import Litestar

from libs.common.db import now
from libs.common.stack.part import http_status
from services.documents.app import create_app
from services.documents.settings import Settings
from services.documents.store import (
    PART_SIZE,
    ObjectMissing,
    Part,
    Place,
    Store,
    StoreAway,
    UploadMissing,
    part_size_for,
    place_of,
)
from tests.conftest import CoreOf
from tests.documents.conftest import DOCUMENTS, PDF, UPLOADS, As
from tests.documents.weather import Proxy
from tests.parts import free_port

BODY = bytes(range(256)) * 3 * (PART_SIZE // 512)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """A second S3 server: moto's, over HTTP."""
    port = free_port()
    command = [str(Path(sysconfig.get_path("scripts")) / "moto_server"), "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while http_status(endpoint) is None:
        assert time.monotonic() < deadline, "moto did not start"
        time.sleep(0.05)
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    client.create_bucket(Bucket="files")
    yield endpoint
    server.kill()
    server.wait()


@pytest.fixture(params=["rclone", "moto"])
async def store(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Store]:
    if request.param == "moto":
        endpoint = request.getfixturevalue("moto")
        settings = msgspec.structs.replace(
            settings, s3_endpoint=endpoint, s3_key="key", s3_secret="secret", s3_bucket="files"
        )
    store = Store(settings)
    async with store.running():
        yield store


@pytest.fixture
def place() -> Place:
    return Place(uuid.uuid4(), uuid.uuid4())


async def _read(store: Store, place: Place, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(place, start, end)])


async def test_an_object_is_written_read_and_deleted(store: Store, place: Place) -> None:
    await store.ping()
    await store.put(place, BODY)
    assert await store.size(place) == len(BODY)
    assert await _read(store, place) == BODY
    assert await _read(store, place, 5, 10) == BODY[5:10]
    assert await _read(store, place, len(BODY) - 3) == BODY[-3:]
    assert await store.inspect(place, len(BODY), lambda file: (file.seek(-5, 2), file.read())) == (
        len(BODY) - 5,
        BODY[-5:],
    )
    for _ in range(2):
        await store.delete(place)
    with pytest.raises(ObjectMissing):
        await store.size(place)
    with pytest.raises(ObjectMissing):
        await _read(store, place)


async def test_parts_are_signed_listed_finished_and_aborted(store: Store, place: Place) -> None:
    multipart_id = await store.begin(place)
    bodies = {1: BODY[:PART_SIZE], 2: BODY[PART_SIZE:]}
    async with httpx.AsyncClient() as direct:
        for number, body in bodies.items():
            sha256 = hashlib.sha256(body).digest()
            signed = await store.sign_part(place, multipart_id, number, size=len(body), sha256=sha256)
            assert (await direct.put(signed.url, content=body, headers=signed.headers)).status_code == 200
    parts = await store.parts(place, multipart_id)
    assert [(part.number, part.size) for part in parts] == [(1, PART_SIZE), (2, len(BODY) - PART_SIZE)]
    assert [found.multipart_id async for found in store.unfinished(f"{place.tenant_id}/")] == [multipart_id]
    for _ in range(2):  # the answer may be lost
        await store.finish(place, multipart_id, parts)
    assert await _read(store, place) == BODY
    with pytest.raises(UploadMissing):
        await store.parts(place, multipart_id)
    for _ in range(2):
        await store.abort(place, multipart_id)
    other = await store.begin(place)
    assert isinstance(await store.put_part(place, other, 1, b"x"), Part)
    await store.abort(place, other)
    assert [found async for found in store.unfinished(f"{place.tenant_id}/")] == []


async def test_a_bucket_without_any_upload_has_none_unfinished(settings: Settings) -> None:
    """On the first day `documents reconcile` finds nothing, and ends well."""
    key, secret = settings.s3_key, settings.s3_secret
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
    )
    fresh = msgspec.structs.replace(settings, s3_bucket=f"fresh-{uuid.uuid4().hex}")
    client.create_bucket(Bucket=fresh.s3_bucket)
    store = Store(fresh)
    async with store.running():
        assert [found async for found in store.unfinished()] == []


async def test_a_link_gives_an_attachment_of_no_type(store: Store, place: Place) -> None:
    await store.put(place, PDF)
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(await store.sign_download(place, 'attachment; filename="a.pdf"'))
    assert answer.content == PDF
    assert answer.headers["content-disposition"] == 'attachment; filename="a.pdf"'
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_everything_is_listed_by_key(store: Store) -> None:
    tenant = uuid.uuid4()
    places = sorted((Place(tenant, uuid.uuid4()) for _ in range(5)), key=lambda place: place.key)
    for place in places:
        await store.put(place, b"x")
    listed = [found.key async for found in store.objects(f"{tenant}/")]
    assert [place_of(key) for key in listed] == places
    after = [found.key async for found in store.objects(f"{tenant}/", after=places[2].key)]
    assert after == listed[3:]


_ID = "0198c0de-0000-7000-8000-00000000000a"


@pytest.mark.parametrize("key", ["", "a", "a/b", _ID, f"{_ID}/x", f"{_ID}/{_ID}/c", f"{_ID}/{_ID}".upper()])
def test_other_keys_are_not_ours(key: str) -> None:
    assert place_of(key) is None


def test_parts_are_large_enough_for_the_largest_file() -> None:
    for size in (1, PART_SIZE, 5 * 1024**3, 5 * 1024**4):
        assert -(-size // part_size_for(size)) <= 10_000


@pytest.mark.parametrize(
    ("addressing", "begins"), [("path", "https://s3.example.org/files/"), ("virtual", "https://files.s3.example.org/")]
)
async def test_both_ways_of_addressing_and_a_name_for_browsers(
    settings: Settings, place: Place, addressing: str, begins: str
) -> None:
    own = {"s3_addressing": addressing, "s3_public_endpoint": "https://s3.example.org", "s3_bucket": "files"}
    url = await Store(msgspec.structs.replace(settings, **own)).sign_download(place, "attachment")
    assert url.startswith(f"{begins}{place.key}?")


async def test_a_store_that_wants_the_bucket_in_the_name(settings: Settings, moto: str, place: Place) -> None:
    """Virtual-host style, as a server reads it: the bucket stands in Host and nowhere else."""
    own = {"s3_endpoint": moto, "s3_key": "key", "s3_secret": "secret", "s3_bucket": "files"}
    await Store(msgspec.structs.replace(settings, **own)).put(place, PDF)
    named = {**own, "s3_addressing": "virtual", "s3_public_endpoint": moto.replace("127.0.0.1", "localhost")}
    url = httpx.URL(await Store(msgspec.structs.replace(settings, **named)).sign_download(place, "attachment"))
    assert url.host == "files.localhost"
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(url.copy_with(host="127.0.0.1"), headers={"Host": f"files.localhost:{url.port}"})
    assert answer.content == PDF


async def test_encryption_is_asked_for(settings: Settings, moto: str, place: Place) -> None:
    settings = msgspec.structs.replace(
        settings, s3_endpoint=moto, s3_key="key", s3_secret="secret", s3_bucket="files", s3_encryption="AES256"
    )
    store = Store(settings)
    await store.put(place, PDF)
    multipart = Place(place.tenant_id, uuid.uuid4())
    multipart_id = await store.begin(multipart)
    await store.finish(multipart, multipart_id, [await store.put_part(multipart, multipart_id, 1, PDF)])
    client = boto3.client(
        "s3", endpoint_url=moto, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    for key in (place.key, multipart.key):
        found = await asyncio.to_thread(client.head_object, Bucket="files", Key=key)
        assert found["ServerSideEncryption"] == "AES256"


def _self_signed(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost that nobody but its own file vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "ca.pem").write_bytes(pem)
    (directory / "both.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "both.pem")
    return directory / "ca.pem", context


async def test_an_own_authority_is_believed_and_no_other(settings: Settings, place: Place, tmp_dir: Path) -> None:
    authority, context = _self_signed(tmp_dir)
    async with Proxy(settings.s3_endpoint, context) as proxy:
        trusting = msgspec.structs.replace(settings, s3_endpoint=proxy.url, s3_ca_file=str(authority))
        await Store(trusting).put(place, PDF)
        with pytest.raises(StoreAway):
            await Store(msgspec.structs.replace(settings, s3_endpoint=proxy.url)).size(place)


class TestWeather:
    """The store answers 5xx, is slow, stalls, breaks off: 503 with Retry-After at worst, and nothing half."""

    @pytest.fixture
    async def proxy(self, settings: Settings) -> AsyncIterator[Proxy]:
        async with Proxy(settings.s3_endpoint) as proxy:
            yield proxy

    @pytest.fixture
    async def app(self, core_of: CoreOf, settings: Settings, proxy: Proxy) -> AsyncIterator[Litestar]:
        settings = msgspec.structs.replace(settings, s3_endpoint=proxy.url, s3_timeout=1.0)
        app = create_app(settings, await core_of("documents"))
        async with app.lifespan():
            yield app

    @pytest.mark.parametrize("weather", ["5xx", "stalled"])
    async def test_an_upload_is_refused_for_now_and_leaves_nothing(
        self, as_: As, bob: uuid.UUID, proxy: Proxy, weather: str
    ) -> None:
        carla = as_("counsellor")
        proxy.weather = weather
        for body in (PDF, BODY):
            answer = await carla.upload(bob, body)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_away")
            assert answer.headers["retry-after"] == "5"
        proxy.weather = "fair"
        assert await carla.names() == []
        assert (await carla.get(UPLOADS)).json()["items"] == []
        await carla.file(bob)

    @pytest.mark.parametrize("weather", ["5xx", "stalled"])
    async def test_a_download_is_refused_before_it_begins(
        self, as_: As, bob: uuid.UUID, proxy: Proxy, weather: str
    ) -> None:
        carla = as_("counsellor")
        document = await carla.file(bob)
        proxy.weather = weather
        answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_away")
        assert (await carla.get(DOCUMENTS)).status_code == 200
        ready = await carla.get("/readyz")
        assert (ready.status_code, ready.json()["away"]) == (200, ["store"])

    async def test_slow_is_good_enough(self, as_: As, bob: uuid.UUID, proxy: Proxy) -> None:
        carla = as_("counsellor")
        proxy.weather = "slow"
        document = await carla.file(bob, BODY[:1_000_000])
        answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content")
        assert answer.content == BODY[:1_000_000]

    @pytest.mark.parametrize("after", [10, 100_000, 5_000_000])
    async def test_a_download_goes_on_where_the_store_broke_off(
        self, as_: As, bob: uuid.UUID, proxy: Proxy, after: int
    ) -> None:
        carla = as_("counsellor")
        document = await carla.file(bob, BODY)
        proxy.weather, proxy.after = "dropping", after
        answer = await carla.get(f"{DOCUMENTS}/{document['id']}/content")
        assert proxy.refused == 1
        assert answer.content == BODY

    async def test_an_upload_survives_a_lost_connection(self, as_: As, bob: uuid.UUID, proxy: Proxy) -> None:
        """boto3 sends it again; the document is whole."""
        carla = as_("counsellor")
        await carla.file(bob)
        proxy.weather, proxy.after = "dropping", 5
        document = await carla.file(bob, BODY)
        assert proxy.refused == 1
        assert (await carla.get(f"{DOCUMENTS}/{document['id']}/content")).content == BODY

    async def test_complete_can_be_repeated_when_the_store_was_away(
        self, as_: As, bob: uuid.UUID, proxy: Proxy
    ) -> None:
        carla = as_("counsellor")
        digest = hashlib.sha256(PDF).hexdigest()
        announced = {"member_id": str(bob), "name": "a.pdf", "size": len(PDF), "sha256": digest}
        upload = (await carla.client.post(UPLOADS, json=announced)).json()
        path = f"{UPLOADS}/{upload['id']}"
        asked = {"parts": [{"number": 1, "sha256": digest}]}
        [signed] = (await carla.client.post(f"{path}/parts", json=asked)).json()["parts"]
        async with httpx.AsyncClient() as direct:
            assert (await direct.put(signed["url"], content=PDF, headers=signed["headers"])).status_code == 200
        proxy.weather = "5xx"
        assert (await carla.client.post(f"{path}/complete")).status_code == 503
        assert (await carla.client.post(f"{path}/parts", json=asked)).status_code == 200  # nothing is asked of it
        proxy.weather = "fair"
        assert (await carla.client.post(f"{path}/complete")).status_code == 201


def test_boto3_never_runs_on_the_event_loop() -> None:
    """Only store.py knows it, and imports it in a thread."""
    services = Path(__file__).parents[2] / "services"
    knows = {path.name for path in services.rglob("*.py") if "boto" in path.read_text()}
    assert knows == {"store.py"}
    code = "import sys, services.documents.app, services.documents.worker; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
