"""Metrics: the process's one registry, and what services have in common. A feature declares its own beside itself, by
these functions.

Labels are words from a short list (a route template, a consumer, an outcome), never ids: each value is a time series.
"""

from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels)


def gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels)


def seconds(name: str, text: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
    """A histogram of durations."""
    return Histogram(name, text, labels, buckets=buckets)


def render() -> bytes:
    """The text that Prometheus scrapes; CONTENT_TYPE says its version."""
    return generate_latest(REGISTRY)


HTTP_REQUESTS = counter("http_requests_total", "Answered requests by route template.", "method", "route", "status")
HTTP_SECONDS = seconds("http_request_seconds", "From the first byte in to the last byte out.", "method", "route")
HTTP_OPEN = gauge("http_requests_open", "Requests being worked on.")
HTTP_DIED = counter("http_requests_died_total", "Requests that ended without a whole answer, by why.", "why")
EVENT_LOOP_LAG = gauge("event_loop_lag_seconds", "How late the last heartbeat of the event loop was.")
NOT_READY = gauge("readiness_missing", "1 while a part that readiness asks for is missing.", "part")

OUTBOX_WAITING = gauge("outbox_waiting", "Events recorded and not yet published.")
OUTBOX_OLDEST = gauge("outbox_oldest_seconds", "Age of the oldest event not yet published.")
RELAY_PUBLISHED = counter("relay_published_total", "Events that the stream has confirmed.")
RELAY_FAILURES = counter("relay_failures_total", "Attempts to publish that failed; each is repeated.")

CONSUMER_HANDLED = counter(
    "consumer_handled_total", "Events by outcome: done, seen, ignored, early, retried, dead.", "consumer", "outcome"
)
CONSUMER_SECONDS = seconds("consumer_handling_seconds", "From the arrival of an event to its commit.", "consumer")
CONSUMER_LAG = gauge("consumer_lag", "Events in the stream that the consumer has not yet acknowledged.", "consumer")
DEAD_LETTERS = gauge("dead_letters", "Events that failed for good and wait for a person.", "consumer")
ADVISORIES = gauge(
    "jetstream_advisories", "What the broker complains of (deliveries given up), kept.", "stream", "kind"
)

REVOCATION_STALENESS = gauge(
    "revocation_staleness_seconds", "Time since the revocation stream was last known to be read to its end."
)
MAIL_ATTEMPTS = counter(
    "mail_attempts_total", "Deliveries tried, by outcome: sent, deferred, bounced, uncertain.", "outcome"
)
