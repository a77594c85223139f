from libs.common.events.members import AccessWanted
from libs.common.inlets import on_all
from services.identity.memberships.access import apply_access

handlers = [on_all(AccessWanted, apply_access)]
