"""What a gRPC client hears that sends too much, too fast, or nonsense.

    python otlp/refusals.py HOST:PORT

The server has a quota of 50 bytes a second for clients called `limited`.
"""

import gzip
import sys
import time

import grpc
import requests
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

server = sys.argv[1]
URL = f"http://{server}/v1/metrics"
PROTOBUF = {"content-type": "application/x-protobuf"}
EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def request(name="a", points=1):
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = name
    now = time.time_ns()
    for number in range(points):
        point = metric.gauge.data_points.add()
        point.time_unix_nano = now
        point.as_double = number
        label = point.attributes.add()
        label.key, label.value.string_value = "number", str(number)
    return message


def channel(client):
    return grpc.insecure_channel(server, options=[("grpc.primary_user_agent", client)])


def refused(call):
    """The status of a call that must fail, and the delay it tells, if it does."""
    try:
        call()
    except grpc.RpcError as error:
        delay = None
        status = rpc_status.from_call(error)
        told = dict(error.trailing_metadata()).get("google.rpc.retryinfo-bin")
        for detail in status.details if status else []:
            info = error_details_pb2.RetryInfo()
            assert detail.Unpack(info), detail
            delay = info.retry_delay.ToTimedelta().total_seconds()
            # Where OpenTelemetry's exporter for Python looks.
            assert error_details_pb2.RetryInfo.FromString(told) == info, told
        return error.code(), delay, error.details()
    raise AssertionError("it was taken")


def count(metric):
    """How many series of a metric can be queried by now."""
    answer = requests.get(f"http://{server}/api/v1/query", params={"query": f"count({metric})"}, timeout=5).json()
    return sum(int(found["value"][1]) for found in answer["data"]["result"])


# Over its quota: told when to come again, and taken then.
limited = MetricsServiceStub(channel("limited/1.0"))
limited.Export(request("quota", points=3))
code, delay, told = refused(lambda: limited.Export(request("quota")))
assert code == grpc.StatusCode.RESOURCE_EXHAUSTED, code
assert "quota" in told, told
assert delay and 0 < delay <= 60, delay
time.sleep(delay)
limited.Export(request("quota"))
print(f"over its quota: RESOURCE_EXHAUSTED, come again in {delay:.1f} s, and taken then")

# Others are not held up meanwhile, however much they send at once.
free = MetricsServiceStub(channel("free/1.0"))
answer = free.Export(request("much", points=20_000), compression=grpc.Compression.Gzip)
assert not answer.HasField("partial_success"), answer
deadline = time.monotonic() + 10
while count("much") != 20_000:
    assert time.monotonic() < deadline, f"{count('much')} of 20000 series"
    time.sleep(0.05)

# What is too large is so the next time: no delay is told, which makes the answer final.
large = request("large", points=300_000)
for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
    code, delay, told = refused(lambda: free.Export(large, compression=compression))
    assert (code, delay) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None), (code, delay, told)
    print(f"{large.ByteSize()} bytes at once: RESOURCE_EXHAUSTED for good, {told!r}")
raw = channel("free/1.0").unary_unary(
    EXPORT, request_serializer=None, response_deserializer=ExportMetricsServiceResponse.FromString
)
for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
    code, delay, told = refused(lambda: raw(bytes(17 << 20), compression=compression))
    assert (code, delay) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None), (code, delay, told)
    assert "16 MiB" in told, told

# Nonsense is the sender's fault, and says so.
code, delay, told = refused(lambda: raw(b"\xff\xff\xff"))
assert (code, delay) == (grpc.StatusCode.INVALID_ARGUMENT, None), (code, told)
missing = channel("free/1.0").unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
code, delay, told = refused(lambda: missing(b""))
assert code == grpc.StatusCode.UNIMPLEMENTED and "MetricsService" in told, (code, told)
# What a page of another site may send without being asked is no call.
answer = requests.post(f"http://{server}{EXPORT}", data=b"\0\0\0\0\0", headers={"content-type": "text/plain"}, timeout=5)
assert answer.status_code == 415, answer
print("nonsense: INVALID_ARGUMENT; a service that is not there: UNIMPLEMENTED")


def http(body, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = requests.post(URL, data=body, headers={**PROTOBUF, **headers}, timeout=30)
    return answer.status_code, answer


def message_of(answer):
    """The message of a `google.rpc.Status`."""
    assert answer.headers["content-type"] == "application/x-protobuf", answer.headers
    return status_pb2.Status.FromString(answer.content).message


# The same over HTTP.
for body, headers, expected, words in (
    (b"\xff", {}, 400, "ExportMetricsServiceRequest"),
    (b"{}", {"content_type": "application/json"}, 415, "http/protobuf"),
    (b"", {"content_encoding": "br"}, 415, "gzip"),
    (b"no gzip", {"content_encoding": "gzip"}, 400, "gzip"),
    (gzip.compress(bytes(40 << 20)), {"content_encoding": "gzip"}, 413, "16 MiB"),
    (bytes(17 << 20), {}, 413, "16 MiB"),
    (large.SerializeToString(), {}, 413, "decoded"),
):
    code, answer = http(body, **headers)
    assert code == expected and words in message_of(answer), (code, answer.content, expected, words)
for path, expected, words in (("metrics", 405, "GET"), ("logs", 404, "/v1/metrics")):
    answer = requests.get(f"http://{server}/v1/{path}", timeout=5)
    assert answer.status_code == expected and words in answer.text, (path, answer, answer.text)
headers = {"user_agent": "limited/1.0"}
body = request("quota", points=3).SerializeToString()
codes = [http(body, **headers) for _ in range(2)]
assert codes[-1][0] == 429 and int(codes[-1][1].headers["retry-after"]) > 0, codes
assert "quota" in message_of(codes[-1][1])
print("over HTTP: 400, 413, 415, and 429 with Retry-After")
print("VERDICT PASS")
