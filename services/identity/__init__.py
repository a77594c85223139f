"""Who may sign in: persons, memberships, invitations and links, credentials, sessions and tokens, roles, operators.

It knows no profile beyond name, login name, e-mail, locale and dates. What members wants of a membership it makes so,
and answers; it ends access by its own clock, and begins none. The last owner who can sign in is never lost.
Other services hear of memberships and invitations by identity.* events, and refuse tokens by the stream REVOKED.
"""
