"""Who belongs to a tenant: tenants, members and their lifecycle, seats, history.

It decides who belongs; identity makes it so. It knows no password, no session and no link code.
Seats never exceed what the tenant has, whatever the door and however many come at once.
Every change leaves its history and its event in the same transaction.
"""
