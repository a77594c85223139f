from libs.common.worker import Worker
from services.identity.settings import Settings


def create_worker(settings: Settings) -> Worker:
    return Worker("identity", settings, handlers={}, sweeps=[])
