"""A service as a process: `control-centre serve` and `control-centre work`. One event loop, one process, no children.

Services are found by name: services.<service>.settings:load, .app:create_app, .worker:create_worker. SIGTERM and SIGINT
end a process in order; a part that fails ends the process, for whoever supervises it to start it again.
"""

import asyncio
import gc
import importlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar

from libs.common import logs, traces
from libs.common.errors import Unavailable
from libs.common.health import probe_app
from libs.common.settings import Settings
from libs.common.worker import Worker


def serve(service: str, host: str, port: int, *, work: bool = False) -> None:
    """Answer HTTP until told to stop. work: run the worker too, as the local stack does."""
    settings = _prepare(service)

    async def run() -> None:
        server = _server(_module(service, "app").create_app(settings), host, port)
        if work:
            worker = _worker(service, settings)
            await _until_stopped({server.stop: server.serve(), worker.stop: worker.run()})
        else:
            await _until_stopped({server.stop: server.serve()})

    uvloop.run(run())


def work(service: str, host: str, port: int | None) -> None:
    """Run the worker until told to stop. port: where probes and figures are served, if anywhere."""
    settings = _prepare(service)

    async def run() -> None:
        worker = _worker(service, settings)

        async def ready() -> None:
            if not worker.ready:
                raise Unavailable(retry_after=1)

        running: dict[Callable[[], object], Coroutine[Any, Any, None]] = {worker.stop: worker.run()}
        if port is not None:
            server = _server(probe_app(service, {"worker": ready}, {}), host, port)
            running[server.stop] = server.serve()
        await _until_stopped(running)

    uvloop.run(run())


def _prepare(service: str) -> Settings:
    settings: Settings = _module(service, "settings").load(os.environ)
    logs.configure(service, settings.log_level)
    traces.configure(service, os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    return settings


def _worker(service: str, settings: Settings) -> Worker:
    worker: Worker = _module(service, "worker").create_worker(settings)
    return worker


def _server(app: Litestar, host: str, port: int) -> Server:
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.error,
        log_dictconfig=logs.GRANIAN_LOGGING,
    )


async def _until_stopped(running: Mapping[Callable[[], object], Coroutine[Any, Any, None]]) -> None:
    """Run all until a signal comes or the first ends; then stop all, in order. Raises what one of them raised."""

    def stop() -> None:
        for one in running:
            one()

    gc.collect()
    gc.freeze()  # what was imported stays: a walk over all of it would stop every request for some 70 ms
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(one) for one in running.values()]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*tasks)


def _module(service: str, name: str) -> Any:
    return importlib.import_module(f"services.{service}.{name}")
