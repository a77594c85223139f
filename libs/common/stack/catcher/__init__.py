"""The mail catcher: SMTP in, a page and JSON out. It answers badly on command, so that senders can be tested.

GET    /api/messages?to=&limit=    every mail, newest first; `to` is an envelope recipient
GET    /api/messages/{id}          one mail: envelope, headers, text, html, attachments
GET    /api/messages/{id}/raw      as it was received
DELETE /api/messages[/{id}]        all, transactions included, or one
GET    /api/transactions           every SMTP transaction, oldest first, with what was answered
GET    /api/behaviour              the rules in force; PUT replaces them (behaviour.py), DELETE takes them away
"""
