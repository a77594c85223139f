from libs.common.worker import Worker
from services.notifier.settings import Settings


def create_worker(settings: Settings) -> Worker:
    return Worker("notifier", settings, handlers={}, sweeps=[])
