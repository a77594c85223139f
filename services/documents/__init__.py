"""Files about members, kept in S3: private to their uploader unless the tenant allows more.

It knows people by ids, states and relations only. A file is visible only when it is complete and checked.
Who may see is decided in one select, for list, download and zip alike; an admin is nobody special here.
Bytes never pass through the event loop in one piece.
"""
