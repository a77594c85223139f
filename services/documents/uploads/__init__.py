"""From the first byte to a document: what may come in, by which way, and what must be known of it before it is one."""
