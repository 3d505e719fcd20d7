"""kafka-python: topics, every compression, idempotence, offsets, time, headers, configuration.

Usage: roundtrip.py HOST:PORT
"""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from common import address, expect, number_of, run, unique, value

BROKER = address()
COUNT = 3_000
PARTITIONS = 3


def create(name, partitions=PARTITIONS, config=None):
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config or {})])
    finally:
        admin.close()
    return name


def read(topic, partition, start=0, count=None):
    """Records of one partition from an offset on, all there are or `count`."""
    at = TopicPartition(topic, partition)
    consumer = KafkaConsumer(bootstrap_servers=BROKER, group_id=None, enable_auto_commit=False)
    try:
        consumer.assign([at])
        consumer.seek(at, start)
        end = consumer.end_offsets([at])[at]
        want = end - start if count is None else count
        records, deadline = [], time.monotonic() + 30
        while len(records) < want:
            expect(time.monotonic() < deadline, f"{len(records)} of {want} records after 30 s")
            for batch in consumer.poll(timeout_ms=500).values():
                records.extend(batch)
        return records[:want]
    finally:
        consumer.close()


def round_trip(compression, **options):
    topic = create(unique(f"py-{compression or 'none'}"))
    producer = KafkaProducer(
        bootstrap_servers=BROKER, compression_type=compression, linger_ms=5, **options
    )
    sent = []
    for number in range(COUNT):
        partition = number % PARTITIONS
        payload = value(topic, partition, number)
        key = str(number).encode() if number % 5 else None
        sent.append(producer.send(topic, payload, key=key, partition=partition))
    producer.flush(timeout=60)
    offsets = [future.get(timeout=10).offset for future in sent]
    producer.close()
    for partition in range(PARTITIONS):
        mine = offsets[partition::PARTITIONS]
        expect(mine == list(range(len(mine))), f"offsets of partition {partition}: {mine[:9]}…")
        records = read(topic, partition)
        expect(len(records) == len(mine), f"{len(records)} of {len(mine)} records")
        numbers = [number_of(topic, partition, record.value) for record in records]
        expect(numbers == list(range(partition, COUNT, PARTITIONS)), "lost, doubled or reordered")
        expect([record.offset for record in records] == mine, "offsets have gaps")
        for record, number in zip(records, numbers):
            expect(record.key == (str(number).encode() if number % 5 else None), "a key changed")
    return f"{COUNT} records"


def uncompressed():
    return round_trip(None, acks="all", enable_idempotence=False)


def gzip():
    return round_trip("gzip", acks="all")


def snappy():
    return round_trip("snappy", acks="all")


def lz4():
    return round_trip("lz4", acks="all")


def zstd():
    return round_trip("zstd", acks="all")


def leader_acks():
    return round_trip("lz4", acks=1, enable_idempotence=False)


def no_acks():
    topic = create(unique("py-acks0"), 1)
    producer = KafkaProducer(bootstrap_servers=BROKER, acks=0, enable_idempotence=False)
    for number in range(500):
        producer.send(topic, value(topic, 0, number), partition=0)
    producer.flush(timeout=30)
    producer.close()
    records = read(topic, 0, count=500)
    expect([number_of(topic, 0, r.value) for r in records] == list(range(500)), "lost or reordered")


def from_an_offset_inside_a_batch():
    topic = create(unique("py-offsets"), 1)
    producer = KafkaProducer(bootstrap_servers=BROKER, linger_ms=100, compression_type="gzip")
    for number in range(200):
        producer.send(topic, value(topic, 0, number), partition=0)
    producer.flush()
    producer.close()
    for start in (0, 1, 57, 199):
        records = read(topic, 0, start)
        expect(len(records) == 200 - start, f"{len(records)} records from {start}")
        expect(records[0].offset == start, f"began at {records[0].offset}, not {start}")


def by_time():
    topic = create(unique("py-time"), 1)
    at, base = TopicPartition(topic, 0), 1_700_000_000_000
    producer = KafkaProducer(bootstrap_servers=BROKER, linger_ms=50)
    for number in range(100):
        producer.send(topic, value(topic, 0, number), partition=0, timestamp_ms=base + number * 1000)
        if number % 10 == 9:
            producer.flush()
    producer.flush()
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=BROKER)
    for time_ms, offset in [
        (base - 5, 0),
        (base, 0),
        (base + 1, 1),
        (base + 42_000, 42),
        (base + 98_999, 99),
        (base + 99_000, 99),
    ]:
        found = consumer.offsets_for_times({at: time_ms})[at]
        expect(found is not None and found.offset == offset, f"{time_ms}: {found}, not {offset}")
    expect(consumer.offsets_for_times({at: base + 99_001})[at] is None, "found after the end")
    expect(consumer.beginning_offsets([at])[at] == 0, "beginning")
    expect(consumer.end_offsets([at])[at] == 100, "end")
    consumer.close()


def headers_and_null_values():
    topic = create(unique("py-headers"), 1)
    producer = KafkaProducer(bootstrap_servers=BROKER)
    headers = [("a", b"1"), ("a", b"2"), ("", b""), ("ü", bytes(range(256)))]
    producer.send(topic, None, key=b"k", headers=headers, partition=0)
    producer.send(topic, b"", key=b"", partition=0)
    producer.flush()
    producer.close()
    first, second = read(topic, 0, count=2)
    expect(list(first.headers) == headers, f"headers are {first.headers}")
    expect(first.value is None and first.key == b"k", "null value")
    expect(second.value == b"" and second.key == b"", "empty is not null")


def auto_created_topic():
    topic = unique("py-auto")
    producer = KafkaProducer(bootstrap_servers=BROKER)
    producer.send(topic, b"hello").get(timeout=10)
    producer.close()
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    expect(topic in admin.list_topics(), "the topic is listed")
    admin.close()


def large_records():
    topic = create(unique("py-large"), 1, {"max.message.bytes": "5000000"})
    producer = KafkaProducer(bootstrap_servers=BROKER, max_request_size=6_000_000)
    payload = value(topic, 0, 7, 4_000_000)
    producer.send(topic, payload, partition=0).get(timeout=30)
    expect(read(topic, 0, count=1)[0].value == payload, "4 MB come back")
    try:
        producer.send(topic, bytes(5_500_000), partition=0).get(timeout=30)
        raise AssertionError("a batch beyond max.message.bytes was taken")
    except Exception as error:
        expect("MessageSizeTooLarge" in type(error).__name__ or "10" in str(error), repr(error))
    producer.close()


def waiting_for_the_first_record():
    """A consumer that waits gets a record as soon as it is there, not at the end of its poll."""
    topic = create(unique("py-wait"), 1)
    at = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=BROKER, fetch_max_wait_ms=20_000)
    consumer.assign([at])
    consumer.seek(at, 0)
    consumer.poll(timeout_ms=500)
    producer = KafkaProducer(bootstrap_servers=BROKER)
    begun = time.monotonic()
    producer.send(topic, b"now", partition=0).get(timeout=10)
    got = consumer.poll(timeout_ms=10_000)
    took = time.monotonic() - begun
    expect(sum(map(len, got.values())) == 1 and took < 2, f"{got} after {took:.2f} s")
    producer.close()
    consumer.close()
    return f"after {took * 1000:.0f} ms"


run(
    [
        uncompressed,
        gzip,
        snappy,
        lz4,
        zstd,
        leader_acks,
        no_acks,
        from_an_offset_inside_a_batch,
        by_time,
        headers_and_null_values,
        auto_created_topic,
        large_records,
        waiting_for_the_first_record,
    ]
)
