"""What a tenant allows: how large, how much, which types, which visibilities, how long deleted files can come back."""
