"""The server as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        #: What is looked up once: methods and statuses are few, and routes are those of the app.
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "nextreel_serve_requests",
            "Requests answered, by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "nextreel_serve_request_seconds",
            "Time to answer a request, by route.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.events = self._gauge("events", "Events that the model in use has followed.")
        self.rejected = self._gauge("rejected_messages", "Messages that break the contract, which are passed over.")
        self.lag_messages = self._gauge(
            "kafka_lag_messages",
            "Messages in Kafka that are not applied yet; NaN while Kafka does not answer.",
        )
        self.lag_seconds = self._gauge(
            "kafka_lag_seconds",
            "Age of the oldest message not applied yet; it keeps growing while Kafka does not answer.",
        )
        self.skipped = Counter(
            "nextreel_serve_skipped_messages",
            "Messages that could not be read from Kafka or applied, by topic; the log names their offsets.",
            ["topic"],
            registry=self.registry,
        )
        self.follow_failures = Counter(
            "nextreel_serve_follow_failures",
            "Failures while following the topics that concern no single message, by step.",
            ["step"],
            registry=self.registry,
        )
        for step in ("follow", "settle", "rank"):
            self.follow_failures.labels(step)
        self.users = self._gauge("users", "Users known.")
        self.titles = self._gauge("titles", "Titles known.")
        self.swaps = Counter("nextreel_serve_model_swaps", "Models that took over.", registry=self.registry)
        self.refused = Counter(
            "nextreel_serve_models_refused", "Models that could not be loaded.", registry=self.registry
        )
        self.model_refused = self._gauge(
            "current_model_refused", "1 while the current version cannot be loaded, and another is in use; otherwise 0."
        )
        self.model_waiting_since = self._gauge(
            "current_model_waiting_since_timestamp_seconds",
            "Since when the current version is not the one in use; 0 while it is.",
        )

        self.writes = Counter(
            "nextreel_serve_writes",
            "Events that the API was to write: acknowledged by Kafka, not written, or unknown (perhaps written).",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("acknowledged", "not_written", "unknown"):
            self.writes.labels(outcome)
        self.writes_outstanding = self._gauge("writes_outstanding", "Writes that wait for Kafka's acknowledgement.")
        self.writes_failing = self._gauge("writes_failing", "1 while writes to Kafka fail, otherwise 0.")
        self.producer_replacements = Counter(
            "nextreel_serve_producer_replacements",
            "Kafka producers that were replaced: after a fatal error, or after 30 s in which no write was good.",
            registry=self.registry,
        )
        self.connections = self._gauge("connections", "Connections that are open.")
        self.in_progress = self._gauge("requests_in_progress", "Requests that are being answered.")
        self.requests_refused = Counter(
            "nextreel_serve_requests_refused",
            "Requests refused before any route sees them, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.connections_closed = Counter(
            "nextreel_serve_connections_closed",
            "Connections that the server closes by itself, by reason.",
            ["reason"],
            registry=self.registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        counted = self._counted.get((method, route, status))
        if counted is None:
            counted = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._counted[method, route, status] = counted
        counted[0].inc()
        counted[1].observe(seconds)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"nextreel_serve_{name}", text, registry=self.registry)
