"""OpenTelemetry's own SDK sends metrics; Prometheus' query API answers them.

    python otlp/sdk.py HOST:PORT grpc|http
"""

import sys
import time

import requests
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

server, protocol = sys.argv[1:]


def exporter(**options):
    """The exporter of this protocol, compressing as most senders do."""
    if protocol == "grpc":
        import grpc

        return Grpc(endpoint=server, insecure=True, compression=grpc.Compression.Gzip, **options)
    from opentelemetry.exporter.otlp.proto.http import Compression

    return Http(endpoint=f"http://{server}/v1/metrics", compression=Compression.Gzip, **options)


def provider(service, **options):
    resource = Resource.create(
        {"service.name": service, "service.namespace": "shop", "service.instance.id": "till-1", "cloud.region": "eu"}
    )
    reader = PeriodicExportingMetricReader(exporter(**options), export_interval_millis=3_600_000)
    return MeterProvider(metric_readers=[reader], resource=resource)


def value(query):
    """The one number a query answers; it may take a moment until a sample is there."""
    deadline = time.monotonic() + 10
    while True:
        answer = requests.get(f"http://{server}/api/v1/query", params={"query": query}, timeout=5).json()
        result = answer["data"]["result"]
        if len(result) == 1:
            return float(result[0]["value"][1])
        assert time.monotonic() < deadline, f"{query}: {answer}"
        time.sleep(0.05)


meters = provider("checkout")
meter = meters.get_meter("shop")
orders = meter.create_counter("shop.orders", unit="{order}")
waits = meter.create_histogram("shop.wait", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1])
open_carts = meter.create_up_down_counter("shop.carts.open")
meter.create_observable_gauge("shop.fill", unit="1", callbacks=[lambda _: [Observation(0.25, {"shelf": "a.1"})]])
orders.add(3, {"http.route": "/pay"})
orders.add(4, {"http.route": "/pay"})
for seconds in (0.05, 0.5, 5):
    waits.record(seconds)
open_carts.add(5)
open_carts.add(-2)
assert meters.force_flush(), "the SDK says that the export failed"
who = 'job="shop/checkout", instance="till-1"'
assert value(f'shop_orders_total{{{who}, http_route="/pay"}}') == 7
assert value(f'shop_wait_seconds_bucket{{{who}, le="1"}}') == 2
assert value(f'shop_wait_seconds_bucket{{{who}, le="+Inf"}}') == 3
assert value(f"shop_wait_seconds_sum{{{who}}}") == 5.55
assert value(f"shop_carts_open{{{who}}}") == 3
assert value(f'shop_fill_ratio{{{who}, shelf="a.1"}}') == 0.25
assert value(f'target_info{{{who}, cloud_region="eu"}}') == 1
orders.add(1, {"http.route": "/pay"})
assert meters.force_flush()
deadline = time.monotonic() + 10
while value(f'shop_orders_total{{{who}, http_route="/pay"}}') != 8:
    assert time.monotonic() < deadline, "the second export does not show"
    time.sleep(0.05)
meters.shutdown()
print("a counter, a histogram, an up-down counter, a gauge and the resource, as series")

# Deltas are refused and told; the SDK logs it as a partial success and does not send them again.
deltas = provider("deltas", preferred_temporality={Counter: AggregationTemporality.DELTA})
shop = deltas.get_meter("shop")
shop.create_counter("shop.deltas").add(1)
shop.create_up_down_counter("shop.beside").add(1)
assert deltas.force_flush(), "a partial success is a success"
deltas.shutdown()
# What came in the same request is there, so the deltas would be, too.
assert value("shop_beside") == 1
answer = requests.get(f"http://{server}/api/v1/query", params={"query": "shop_deltas_total"}, timeout=5).json()
assert answer["data"]["result"] == [], answer
print("deltas are refused, without an error for the sender")
print("VERDICT PASS")
