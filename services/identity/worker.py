from libs.common.worker import Worker
from services.identity.invitations.sweeps import deadlines
from services.identity.memberships.handlers import handlers as memberships
from services.identity.passwords.sweeps import requests
from services.identity.settings import Settings
from services.identity.tenants.handlers import handlers as tenants


def create_worker(settings: Settings) -> Worker:
    return Worker("identity", settings, handlers=[*tenants, *memberships], sweeps=[deadlines, requests])
