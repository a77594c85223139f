"""R-28: one address is invited a few times a day at most, over all tenants; and operators can stop all mail at once."""
