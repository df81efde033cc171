"""What a server measures, in Prometheus's form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TYPE = CONTENT_TYPE_LATEST


class Measured:
    """The measurements of one server, and how fast it has answered so far."""

    def __init__(self) -> None:
        self._registry = to = CollectorRegistry()
        ProcessCollector(registry=to)  # memory, CPU time, open files
        self.requests = Counter("llmkit_requests", "Requests, by path and status.", ["path", "status"], registry=to)
        self.seconds = Histogram("llmkit_request_seconds", "Time of a request.", ["path"], buckets=SECONDS, registry=to)
        self.waiting = Gauge("llmkit_waiting_requests", "Requests that are not yet answered.", registry=to)
        self.waited = Histogram("llmkit_queue_seconds", "Time in the queue.", buckets=SECONDS, registry=to)
        self.together = Histogram("llmkit_turn_inputs", "Inputs that are read together.", buckets=SIZES, registry=to)
        self.computed = Counter("llmkit_model_seconds", "Time in the model.", registry=to)
        self._inputs, self._seconds = 0, 0.0

    def turn(self, inputs: int, seconds: float) -> None:
        """Note that so many inputs were read together, in this time."""
        self.together.observe(inputs)
        self.computed.inc(seconds)
        self._inputs += inputs
        self._seconds += seconds

    def seconds_for(self, inputs: int) -> float:
        """How long so many inputs would take, by what was answered so far."""
        return inputs * self._seconds / max(1, self._inputs)

    def page(self) -> bytes:
        """What Prometheus collects."""
        return generate_latest(self._registry)
