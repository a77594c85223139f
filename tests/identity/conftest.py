"""identity on its clone of a migrated database: events come in by hand, answers are read from the outbox."""
