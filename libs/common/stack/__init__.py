"""The local stack: real PostgreSQL, NATS, S3, mail and gateway, without Docker and without root; one file per part.

`make run` and the tests start the same parts. Each is a process of its own with its state in one folder. All end with
whoever started them, even if that is killed; the next start finds the state and goes on from there.
"""
