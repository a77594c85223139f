"""Who may come in: invite, readdress, revoke, local access, and what identity and notifier answer."""
