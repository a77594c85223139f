"""STACK=containers: PostgreSQL and NATS from images by testcontainers, where Docker is at hand; S3 too if S3_IMAGE says
which (an image that answers S3 at port 9000 with MINIO_ROOT_USER and MINIO_ROOT_PASSWORD). The rest stays as it is.

POSTGRES_IMAGE (postgres:18) and NATS_IMAGE (nats:2) name other images.
"""

import atexit
import os
import time

from libs.common.stack.group import Group
from libs.common.stack.nats import Nats
from libs.common.stack.part import http_status
from libs.common.stack.s3 import S3


def start(group: Group) -> dict[str, str]:
    """Addresses as the environment would give them. testcontainers removes the containers when we end."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.postgres import PostgresContainer

    def run(container: DockerContainer) -> DockerContainer:
        container.start()
        atexit.register(container.stop)
        return container

    secret = group.state.secret("postgres")
    postgres = PostgresContainer(
        os.environ.get("POSTGRES_IMAGE", "postgres:18"), username="postgres", password=secret, dbname="postgres"
    )
    run(postgres.with_command("postgres -c max_connections=300"))
    found = {"POSTGRES_URL": postgres.get_connection_url(driver=None)}

    config = Nats(group.state).prepare_for_container()
    nats = DockerContainer(os.environ.get("NATS_IMAGE", "nats:2")).with_exposed_ports(4222, 8222)
    run(
        nats.with_volume_mapping(str(config), "/etc/nats/control-centre.conf").with_command(
            "-c /etc/nats/control-centre.conf"
        )
    )
    host = nats.get_container_host_ip()
    while http_status(f"http://{host}:{nats.get_exposed_port(8222)}/healthz") != 200:
        time.sleep(0.05)
    found["NATS_URL"] = f"nats://{host}:{nats.get_exposed_port(4222)}"

    if image := os.environ.get("S3_IMAGE"):
        address = S3(group.state).address
        server = DockerContainer(image).with_exposed_ports(9000).with_command("server /data")
        run(server.with_env("MINIO_ROOT_USER", address.key).with_env("MINIO_ROOT_PASSWORD", address.secret))
        endpoint = f"http://{server.get_container_host_ip()}:{server.get_exposed_port(9000)}"
        found |= {"S3_ENDPOINT": endpoint, "S3_KEY": address.key, "S3_SECRET": address.secret, "S3_BUCKET": S3.bucket}
    return found
