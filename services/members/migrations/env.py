from libs.common.migrations import run
from services.members.tables import Table

run(Table.metadata)
