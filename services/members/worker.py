from libs.common.worker import Worker
from services.members.settings import Settings


def create_worker(settings: Settings) -> Worker:
    return Worker("members", settings, handlers={}, sweeps=[])
