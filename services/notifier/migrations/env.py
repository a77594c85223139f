from libs.common.migrations import run
from services.notifier.tables import Table

run(Table.metadata)
