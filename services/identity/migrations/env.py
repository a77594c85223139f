from libs.common.migrations import run
from services.identity.tables import Table

run(Table.metadata)
