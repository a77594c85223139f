"""Every mail: templates, messages and their attempts (the mail log), suppression, direct messages, sender settings.

It knows people by its address book only, and no secret: link codes are derived while a mail is rendered.
Each cause leads to one message, each try is written down before SMTP is spoken, and nothing is called sent
before a server has taken it.
"""
