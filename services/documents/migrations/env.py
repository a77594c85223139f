from libs.common.migrations import run
from services.documents.tables import Table

run(Table.metadata)
