from libs.common.worker import Worker
from services.documents.settings import Settings


def create_worker(settings: Settings) -> Worker:
    return Worker("documents", settings, handlers={}, sweeps=[])
