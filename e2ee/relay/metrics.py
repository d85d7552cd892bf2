"""The statistics in Prometheus' text form; needs the extra `relay` (prometheus-client)."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ImportError:  # the extra is not installed
    AVAILABLE = False
else:
    AVAILABLE = True

from .statistics import BATCH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from .statistics import Statistics

__all__ = ["AVAILABLE", "exposition"]

_LABELLED: Final = (
    ("e2ee_relay_envelopes", "Envelopes submitted, by outcome.", "outcome", "envelopes"),
    ("e2ee_relay_refusals", "Requests refused, by code.", "code", "refusals"),
    ("e2ee_relay_closings", "Connections closed by the relay, by code.", "code", "closings"),
)
_COUNTERS: Final = (
    ("e2ee_relay_logins", "Logins accepted.", "logins"),
    ("e2ee_relay_frames", "Frames received.", "frames"),
    ("e2ee_relay_deliveries", "Envelopes pushed; what comes again counts again.", "deliveries"),
    ("e2ee_relay_acknowledged", "Envelopes removed because they were acknowledged.", "acknowledged"),
    ("e2ee_relay_bundles", "Prekey bundles handed out.", "bundles"),
    (
        "e2ee_relay_one_time_keys_withheld",
        "Bundles without one-time keys because of a limit.",
        "one_time_keys_withheld",
    ),
    ("e2ee_relay_store_failures", "Batches that the store did not take.", "failures"),
)
_GAUGES: Final = (
    ("e2ee_relay_connections", "Connections open.", "connections"),
    ("e2ee_relay_strangers", "Connections open and not logged in.", "strangers"),
)


def exposition(statistics: Statistics) -> tuple[str, str]:
    """Return the statistics as text, and its content type. Only where AVAILABLE."""

    class Now(Collector):
        def collect(self) -> Iterator[Metric]:
            return _collect(statistics)

    registry = CollectorRegistry()
    registry.register(Now())
    return generate_latest(registry).decode(), CONTENT_TYPE_LATEST


def _collect(statistics: Statistics) -> Iterator[Metric]:
    for name, text, attribute in _GAUGES:
        yield GaugeMetricFamily(name, text, value=getattr(statistics, attribute))
    for name, text, attribute in _COUNTERS:
        yield CounterMetricFamily(name, text, value=getattr(statistics, attribute))
    for name, text, label, attribute in _LABELLED:
        family = CounterMetricFamily(name, text, labels=[label])
        counts: Mapping[str, int] = dict(getattr(statistics, attribute))
        for value, count in sorted(counts.items()):
            family.add_metric([value], count)
        yield family
    histogram = HistogramMetricFamily("e2ee_relay_batch_seconds", "Time of one batch, its commit included.")
    totals = list(accumulate(statistics.batch_buckets))
    bounds = [*(str(bound) for bound in BATCH_SECONDS), "+Inf"]
    histogram.add_metric([], list(zip(bounds, totals, strict=True)), sum_value=statistics.batch_seconds)
    yield histogram
