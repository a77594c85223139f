"""An S3 server that checks signatures: `rclone serve s3` over a folder; a bucket is a folder in it."""

import sysconfig
from collections.abc import Mapping
from pathlib import Path

import msgspec

from libs.common.stack.part import Part, http_status
from libs.common.stack.state import HOST, State


class S3Address(msgspec.Struct, frozen=True):
    endpoint: str
    key: str
    secret: str
    bucket: str
    region: str = "us-east-1"


class S3(Part):
    name = "s3"
    bucket = "documents"

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._port = state.port(self.name)

    @property
    def address(self) -> S3Address:
        key = f"local{self.state.secret('s3.key')[:12]}"  # rclone refuses very short ones
        return S3Address(f"http://{HOST}:{self._port}", key, self.state.secret("s3.secret"), self.bucket)

    def prepare(self) -> None:
        (self._root / self.bucket).mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        rclone = Path(sysconfig.get_path("scripts")) / "rclone"
        return [str(rclone), "serve", "s3", "--addr", f"{HOST}:{self._port}", str(self._root)]

    def environ(self) -> Mapping[str, str]:
        """The key is not on the command line, which everybody on the machine can read."""
        config = self.state.part(self.name) / "rclone.conf"
        config.touch()
        own = {
            "RCLONE_AUTH_KEY": f'"{self.address.key},{self.address.secret}"',  # a list in CSV: one pair, quoted
            "RCLONE_CONFIG": str(config),
        }
        return {**super().environ(), **own}

    def is_ready(self) -> bool:
        return http_status(self.address.endpoint) is not None

    @property
    def _root(self) -> Path:
        return self.state.part(self.name) / "buckets"
