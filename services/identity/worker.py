from libs.common.worker import Worker
from services.identity.beats.rules import handlers as beats
from services.identity.beats.rules import task as beat
from services.identity.housekeeping import task as clear
from services.identity.invitations.sweeps import deadlines
from services.identity.memberships.handlers import handlers as memberships
from services.identity.passwords.sweeps import requests
from services.identity.settings import Settings
from services.identity.tenants.handlers import handlers as tenants


def create_worker(settings: Settings) -> Worker:
    handlers = [*tenants, *memberships, *beats]
    return Worker("identity", settings, handlers=handlers, sweeps=[deadlines, requests], tasks=[beat, clear])
