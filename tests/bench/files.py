"""Files through the service, by links, and as one zip; and what the service's process holds in memory meanwhile."""

import contextlib
import hashlib
import http.client
import io
import os
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from libs.common.stack.visitor import Visitor
from tests.bench.figures import Figure, spread
from tests.bench.ground import Ground
from tests.bench.usage import memory_bytes
from tests.journeys.world import Tenant

MEBIBYTE = 1024 * 1024
PART = 8 * MEBIBYTE  # of files below 72 GB
CHUNK = 256 * 1024
FILED = "/documents/v1/documents"
UPLOADS = "/documents/v1/uploads"


def measure(ground: Ground) -> Figure:
    return Files(ground).measure()


class Files:
    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        ground.mint_operator()
        self.tenant: Tenant = ground.world.tenant("files")
        self.url = ground.url("documents")
        s3 = ground.stack.addresses.s3
        self.bucket = s3.bucket
        self.s3 = boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.key,
            aws_secret_access_key=s3.secret,
            region_name=s3.region,
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )
        self.somebody = Visitor(self.url, timeout=600)
        self.fresh()
        self.pid = ground.stack.pid("documents")

    def fresh(self) -> dict[str, str]:
        self.somebody.token = self.ground.token(self.tenant.id, self.tenant.owner_id)
        return {"Authorization": f"Bearer {self.somebody.token}"}

    def measure(self) -> Figure:
        size = min(self.ground.sizes.mebibytes, 256) * MEBIBYTE
        small, digest = self._file("small", size)
        pairs = max(2, self.ground.sizes.pairs - 2)
        up, down, link_up, checked, link_down = [], [], [], [], []
        place = ""
        for _ in range(pairs):
            direct = self._timed(self.s3.upload_file, str(small), self.bucket, "bench/plain")
            place = f"{FILED}/{self._upload(small, digest, size)[1]}"
            through = self._last
            up.append(direct / through)
            checked.append(direct / self._timed(self._upload_by_links, small, digest, size))
            link_up.append(direct / self._sent)
            direct = self._timed(self._s3_download, "bench/plain")
            down.append(direct / self._timed(self._download, f"{self.url}{place}/content", self.fresh()))
            self.fresh()
            link = self.somebody.ask("POST", f"{place}/link")["url"]
            link_down.append(direct / self._timed(self._download, link, {}))
            self.ground.say(
                f"up {up[-1]:.0%}, by links {link_up[-1]:.0%}, down {down[-1]:.0%}, by link {link_down[-1]:.0%}"
            )
        small.unlink()
        details = [
            f"{size // MEBIBYTE} MiB: upload {spread(up)}, download {spread(down)}; by links, for the client: upload"
            f" {spread(link_up)} ({spread(checked)} with the check that follows), download {spread(link_down)}",
            self._memory(),
            self._zip(),
        ]
        return Figure(
            what="upload and download through the service, against the S3 client; presigned; memory",
            target="≥ 40 %, ≥ 95 %, flat; stretch 70 %",
            found=f"up {spread(up)}, down {spread(down)}; links up {spread(link_up)}, down {spread(link_down)}",
            bare="boto3's `upload_file` and `get_object`, straight to the same store (rclone over a folder), in this"
            " process. By links: announced, parts signed, sent to the store over ten connections as boto3 does; the"
            " check that follows reads the whole back and takes its SHA-256.",
            details=details,
        )

    def _memory(self) -> str:
        size = self.ground.sizes.mebibytes * MEBIBYTE
        big, digest = self._file("big", size)
        with self._peak() as peak:
            _, document = self._upload(big, digest, size)
        up = peak()
        big.unlink()
        with self._peak() as peak:
            got = self._download(f"{self.url}{FILED}/{document}/content", self.fresh())
        assert got == size, got
        return (
            f"memory of the process at {size / 1024**3:.2g} GiB: +{up:.0f} MiB while uploading, +{peak():.0f} MiB while"
            f" downloading, over {self._idle:.0f} MiB before"
        )

    def _zip(self) -> str:
        count, owner = self.ground.sizes.files, self.tenant.owner_id
        member = self.ground.world.add(self.tenant, "zipped")["id"]
        self.ground.say(f"{count:,} files for the zip")
        started = time.monotonic()
        for number in range(count):
            if not number % 200:
                self.fresh()
            form: dict[str, Any] = {
                "data": {"member_id": member},
                "files": {"file": (f"{number}.txt", os.urandom(1024))},
            }
            answer = self._retried("POST", FILED, **form)
            assert answer.status_code == 201, (owner, answer.text)
        rate = count / (time.monotonic() - started)
        started = time.monotonic()
        with self._peak() as peak:
            kept = io.BytesIO()
            self._download(f"{self.url}{FILED}/zip?member_id={member}", self.fresh(), kept)
        seconds = time.monotonic() - started
        names = zipfile.ZipFile(kept).namelist()
        return (
            f"{count:,} files of 1 KiB: filed one after the other at {rate:.0f}/s; as one zip ({len(names):,} entries)"
            f" in {seconds:.1f} s, {count / seconds:.0f}/s, +{peak():.0f} MiB"
        )

    # The ways

    def _upload(self, file: Path, digest: str, size: int) -> tuple[str, str]:
        """The raw body in one request; the service is timed from the announcement on."""
        headers = self.fresh()
        started = time.perf_counter()
        upload = self._announce(digest, size)
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=1200)
        connection.putrequest("PUT", f"{UPLOADS}/{upload['id']}/content")
        for name, value in {**headers, "Content-Length": str(size)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        with file.open("rb") as body:
            connection.sock.sendfile(body)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 201, said
        connection.close()
        self._last = time.perf_counter() - started
        return upload["id"], upload["id"]

    def _upload_by_links(self, file: Path, digest: str, size: int) -> None:
        self.fresh()
        with file.open("rb") as body:
            parts = list(iter(lambda: body.read(PART), b""))
        wanted = [{"number": n, "sha256": hashlib.sha256(part).hexdigest()} for n, part in enumerate(parts, 1)]
        started = time.perf_counter()
        upload = self._announce(digest, size)
        path = f"{UPLOADS}/{upload['id']}"
        assert upload["part_size"] == PART
        for first in range(0, len(wanted), 100):
            signed = self.somebody.ask("POST", f"{path}/parts", {"parts": wanted[first : first + 100]})["parts"]
            with ThreadPoolExecutor(10) as pool:  # as many as boto3 takes
                list(pool.map(lambda one: _put(one, parts[one["number"] - 1]), signed))
        self._sent = time.perf_counter() - started
        answer = self.somebody.call("POST", f"{path}/complete")
        while answer.json()["state"] == "checking":
            time.sleep(0.05)
            answer = self.somebody.call("GET", path)
        assert answer.json()["state"] == "done", answer.text

    def _announce(self, digest: str, size: int) -> Any:
        about = {"member_id": self.tenant.owner_id, "name": "film.bin", "size": size, "sha256": digest}
        answer = self._retried("POST", UPLOADS, json=about)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def _download(self, url: str, headers: dict[str, str], into: io.BytesIO | None = None) -> int:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=1200)
        connection.request("GET", f"{place.path}?{place.query}" if place.query else place.path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        buffer, total = memoryview(bytearray(CHUNK)), 0
        while got := answer.readinto(buffer):
            total += got
            if into is not None:
                into.write(buffer[:got])
        connection.close()
        return total

    def _s3_download(self, key: str) -> None:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"]
        while body.read(CHUNK):
            pass

    # Tools

    def _retried(self, method: str, path: str, **about: Any) -> Any:
        """Somebody who has just been added is known to documents a moment later."""
        until = time.monotonic() + 20
        while (answer := self.somebody.call(method, path, **about)).status_code in (
            409,
            404,
            503,
        ) and time.monotonic() < until:
            time.sleep(0.1)
        return answer

    def _timed(self, call: Callable[..., object], *arguments: object) -> float:
        started = time.perf_counter()
        call(*arguments)
        return time.perf_counter() - started

    @contextlib.contextmanager
    def _peak(self) -> Iterator[Callable[[], float]]:
        """MiB that the process held at most beyond what it held at the beginning."""
        before = memory_bytes(self.pid)
        most, over = before, threading.Event()
        self._idle = before / MEBIBYTE

        def watch() -> None:
            nonlocal most
            while not over.wait(0.05):
                most = max(most, memory_bytes(self.pid))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield lambda: (most - before) / MEBIBYTE
        finally:
            over.set()
            thread.join()

    def _file(self, name: str, size: int) -> tuple[Path, str]:
        path, digest = self.ground.folder / f"{name}-{uuid.uuid4().hex[:6]}", hashlib.sha256()
        block = os.urandom(MEBIBYTE)
        with path.open("wb") as file:
            for number in range(size // MEBIBYTE):
                piece = number.to_bytes(8) + block[8:]
                file.write(piece)
                digest.update(piece)
        return path, digest.hexdigest()


def _put(signed: Any, body: bytes) -> None:
    place = urlsplit(signed["url"])
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)
    connection.request("PUT", f"{place.path}?{place.query}", body, signed["headers"])
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
