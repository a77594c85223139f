"""One command on many members: a job with an answer per person, paced under the tenant's limit, never lost halfway."""
