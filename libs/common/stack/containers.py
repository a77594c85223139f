"""STACK=containers: PostgreSQL and NATS from images by testcontainers, where Docker is at hand. Mail stays as it is; S3
too, unless S3_IMAGE names an image that listens at port 9000 and takes MINIO_ROOT_USER and MINIO_ROOT_PASSWORD.

POSTGRES_IMAGE (postgres:18) and NATS_IMAGE (nats:2) name other images. testcontainers removes the containers when we
end, killed or not.
"""

import atexit
import os
import time
from typing import TYPE_CHECKING

from libs.common.stack.errors import PartFailed
from libs.common.stack.group import Group
from libs.common.stack.nats import Nats
from libs.common.stack.part import http_status
from libs.common.stack.s3 import S3

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_PATIENCE = 60.0


def start(group: Group) -> dict[str, str]:
    """Addresses as the environment would give them. Raises PartFailed."""
    from docker.errors import DockerException  # type: ignore[import-untyped]

    try:
        return _postgres(group) | _nats(group) | _s3(group)
    except DockerException as error:
        why = f"Docker does not do what it should ({error})"
        raise PartFailed("containers", why, "Start Docker, or unset STACK to need none.") from None


def _postgres(group: Group) -> dict[str, str]:
    from testcontainers.community.postgres import PostgresContainer

    image, secret = os.environ.get("POSTGRES_IMAGE", "postgres:18"), group.state.secret("postgres")
    container = PostgresContainer(image, username="postgres", password=secret, dbname="postgres")
    _run(container.with_command("postgres -c max_connections=300"))
    return {"POSTGRES_URL": container.get_connection_url(driver=None)}


def _nats(group: Group) -> dict[str, str]:
    from testcontainers.core.container import DockerContainer

    inside = "/etc/nats/control-centre.conf"
    container = DockerContainer(os.environ.get("NATS_IMAGE", "nats:2")).with_exposed_ports(4222, 8222)
    container.with_volume_mapping(str(Nats(group.state).prepare_for_container()), inside).with_command(f"-c {inside}")
    _run(container)
    _wait("nats", f"{_place(container, 8222)}/healthz")
    return {"NATS_URL": _place(container, 4222).replace("http", "nats")}


def _s3(group: Group) -> dict[str, str]:
    image = os.environ.get("S3_IMAGE")
    if not image:
        return {}
    import boto3
    from testcontainers.core.container import DockerContainer

    ours = S3(group.state).address
    container = DockerContainer(image).with_exposed_ports(9000).with_command("server /data")
    _run(container.with_env("MINIO_ROOT_USER", ours.key).with_env("MINIO_ROOT_PASSWORD", ours.secret))
    endpoint = _place(container, 9000)
    _wait("s3", f"{endpoint}/minio/health/live")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ours.key,
        aws_secret_access_key=ours.secret,
        region_name=ours.region,
    )
    client.create_bucket(Bucket=ours.bucket)
    return {"S3_ENDPOINT": endpoint, "S3_KEY": ours.key, "S3_SECRET": ours.secret, "S3_BUCKET": ours.bucket}


def _run(container: "DockerContainer") -> None:
    container.start()
    atexit.register(container.stop)


def _place(container: "DockerContainer", port: int) -> str:
    return f"http://{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


def _wait(part: str, url: str) -> None:
    end = time.monotonic() + _PATIENCE
    while http_status(url) != 200:
        if time.monotonic() > end:
            raise PartFailed(part, f"its container does not answer at {url}", "Look at `docker logs`.")
        time.sleep(0.05)
