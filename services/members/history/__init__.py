"""Everything that happened to a member, as the audit trail has it (B-05, B-06)."""
