"""kafka-python and confluent-kafka (librdkafka): topics with cleanup.policy=compact.

Both read what compaction left: the last record of each key, at its offset, unchanged, over gaps of any
size. The server must look for work often: `compaction: {interval: 100ms}` in its lantern.yaml.

Usage: compaction.py HOST:PORT
"""

import time

from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Place
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

from common import address, expect, run, unique

BROKER = address()
DEADLINE = 20
ADMIN = KafkaAdminClient(bootstrap_servers=BROKER)
CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": "4096",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "500",
}


def compacted(name, **more):
    name = unique(f"compacted-{name}")
    config = CONFIG | {key.replace("_", "."): value for key, value in more.items()}
    ADMIN.create_topics([NewTopic(name, 1, 1, topic_configs=config)])
    return name


def configuration(name):
    return str(ADMIN.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all"))


class Writer:
    """Sends records and remembers each by its offset."""

    def __init__(self, topic, **config):
        self.topic, self.sent = topic, {}
        self.producer = Producer({"bootstrap.servers": BROKER, "linger.ms": 5} | config)

    def send(self, key, value, headers=None):
        def said(error, message):
            expect(error is None, f"{key}: {error}")
            self.sent[message.offset()] = (key, value, headers or [])

        self.producer.produce(self.topic, value, key, partition=0, headers=headers, on_delivery=said)
        self.producer.poll(0)

    def flush(self):
        expect(self.producer.flush(DEADLINE) == 0, "all was sent")

    def roll(self):
        """Makes the newest segment another one: what is in it is never compacted."""
        for number in range(12):
            self.send(b"pad", b"%d" % number + b"." * 1000)
            self.flush()

    def last(self):
        found = {}
        for offset in sorted(self.sent):
            key, value, _ = self.sent[offset]
            found[key] = (offset, value)
        return found


def ends(topic):
    consumer = KafkaConsumer(bootstrap_servers=BROKER)
    place = TopicPartition(topic, 0)
    begin = consumer.beginning_offsets([place])[place]
    end = consumer.end_offsets([place])[place]
    consumer.close()
    return begin, end


def read_python(topic, start=0, isolation="read_uncommitted"):
    begin, end = ends(topic)
    consumer = KafkaConsumer(
        bootstrap_servers=BROKER, enable_auto_commit=False, isolation_level=isolation, fetch_max_wait_ms=50,
    )
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek(place, max(start, begin))
    records, until = [], time.monotonic() + DEADLINE
    while consumer.position(place) < end:
        expect(time.monotonic() < until, f"kafka-python hangs at {consumer.position(place)} of {end}")
        for batch in consumer.poll(timeout_ms=100).values():
            records += [(r.offset, r.key, r.value, list(r.headers)) for r in batch]
    consumer.close()
    return records


def read_rdkafka(topic, start=0, isolation="read_uncommitted"):
    begin, end = ends(topic)
    consumer = Consumer({
        "bootstrap.servers": BROKER, "group.id": unique("none"), "enable.auto.commit": False,
        "enable.partition.eof": True, "isolation.level": isolation, "fetch.wait.max.ms": 50,
    })
    consumer.assign([Place(topic, 0, max(start, begin))])
    records, until = [], time.monotonic() + DEADLINE
    while True:
        expect(time.monotonic() < until, f"librdkafka hangs after {records[-1:]} before {end}")
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            # The only one there is: the end of the partition.
            expect(message.error().name() == "_PARTITION_EOF", str(message.error()))
            break
        records.append((message.offset(), message.key(), message.value(), message.headers() or []))
    consumer.close()
    return records


def until(what, holds):
    end = time.monotonic() + DEADLINE
    while True:
        found = holds()
        if found:
            return found
        expect(time.monotonic() < end, f"{what} within {DEADLINE} s")
        time.sleep(0.1)


def is_what_was_sent(records, writer):
    last = -1
    for offset, key, value, headers in records:
        expect(offset > last, f"offset {offset} after {last}")
        last = offset
        expect(writer.sent[offset] == (key, value, headers), f"the record at {offset} changed")


def keys_are_shown_and_changed():
    name = compacted("config")
    shown = configuration(name)
    for key, value in CONFIG.items():
        expect(key in shown and value in shown, f"{key} in {shown[:300]}")
    ADMIN.alter_configs([
        ConfigResource(ConfigResourceType.TOPIC, name, configs=CONFIG | {"cleanup.policy": "compact,delete"})
    ])
    expect("compact,delete" in configuration(name), "both policies")
    try:
        compacted("wrong", min_compaction_lag_ms="10", max_compaction_lag_ms="5")
        raise AssertionError("a record cannot stay longer than it may")
    except KafkaError as error:
        expect("InvalidConfig" in repr(error), repr(error))


def last_values_stay_at_their_offsets():
    said = []
    for codec in ["none", "zstd", "lz4"]:
        name = compacted(codec)
        writer = Writer(name, **{"compression.type": codec, "enable.idempotence": True})
        for turn in range(30):
            for number in range(20):
                headers = [("h", b"1"), ("h", None), ("turn", b"%d" % turn)][: number % 4]
                writer.send(b"key-%d" % number, b"%d/%d" % (turn, number), headers)
            writer.flush()
        writer.roll()
        last = {offset for offset, _ in writer.last().values()}

        def compacted_enough():
            records = read_python(name)
            is_what_was_sent(records, writer)
            there = {offset for offset, *_ in records}
            expect(last <= there, f"last values at {sorted(last - there)} are gone")
            return records if len(records) < len(writer.sent) / 3 else None

        records = until("compaction", compacted_enough)
        expect(read_rdkafka(name) == read_python(name), "both clients read the same")
        # From within every gap the next record comes.
        offsets = [offset for offset, *_ in records]
        gaps = [a + 1 for a, b in zip([-1] + offsets, offsets) if b > a + 1][:4]
        expect(gaps, "there are gaps")
        for gap in gaps:
            for read in [read_python, read_rdkafka]:
                first = read(name, gap)[0][0]
                expect(first >= gap and first in last | set(offsets), f"{first} from {gap}")
        # The producer of what went goes on.
        writer.send(b"key-0", b"once more")
        writer.flush()
        said.append(f"{codec} {len(writer.sent)} -> {len(records)}")
    return ", ".join(said)


def tombstones_go_in_their_time():
    name = compacted("tombstones")
    writer = Writer(name)
    for number in range(30):
        writer.send(b"key-%d" % number, b"there")
    for number in range(0, 30, 2):
        writer.send(b"key-%d" % number, None)
    writer.flush()
    writer.roll()
    deleted = {b"key-%d" % number for number in range(0, 30, 2)}

    def gone():
        # What is last is not in order to be compacted before it is followed by more.
        writer.send(b"pad", b"." * 1000)
        writer.flush()
        records = read_rdkafka(name)
        is_what_was_sent(records, writer)
        values = {key: value for _, key, value, _ in records if value is not None}
        expect(all(values.get(b"key-%d" % n) == b"there" for n in range(1, 30, 2)), "the others stay")
        return not deleted & {key for _, key, _, _ in records}

    until("tombstones go", gone)
    return f"{len(deleted)} keys are gone"


def records_without_a_key_are_refused():
    name = compacted("keyless")
    by = KafkaProducer(bootstrap_servers=BROKER, retries=0)
    by.send(name, key=b"k", value=b"v").get(DEADLINE)
    try:
        by.send(name, value=b"no key").get(DEADLINE)
        raise AssertionError("kafka-python's was taken")
    except KafkaError as error:
        expect("key" in str(error) or "InvalidRecord" in type(error).__name__, repr(error))
    by.close()
    answers = []
    with_confluent = Producer({"bootstrap.servers": BROKER})
    with_confluent.produce(name, b"no key", on_delivery=lambda error, _: answers.append(error))
    with_confluent.flush(DEADLINE)
    expect(answers and answers[0] is not None, f"librdkafka's was refused: {answers}")
    expect(answers[0].name() in ("INVALID_RECORD", "_INVALID_RECORD"), answers[0].name())
    expect(ends(name) == (0, 1), f"nothing of them was written: {ends(name)}")
    return str(answers[0])


def what_was_aborted_goes_and_outdates_nothing():
    name = compacted("transactions")
    by = Producer({"bootstrap.servers": BROKER, "transactional.id": unique("compaction")})
    by.init_transactions(DEADLINE)
    for turn in range(20):
        by.begin_transaction()
        for number in range(10):
            by.produce(name, b"%d" % turn, b"key-%d" % number, partition=0)
        if turn % 2 == 0:
            by.commit_transaction(DEADLINE)
        else:
            by.abort_transaction(DEADLINE)
    Writer(name).roll()

    def compacted_enough():
        all_of_them = read_rdkafka(name)
        records = read_rdkafka(name, isolation="read_committed")
        expect(records == read_python(name, isolation="read_committed"), "both clients read the same")
        values = {key: value for _, key, value, _ in records if key != b"pad"}
        expect(values == {b"key-%d" % number: b"18" for number in range(10)}, str(values))
        return records if len(all_of_them) < 60 else None

    records = until("compaction", compacted_enough)
    by.begin_transaction()
    by.produce(name, b"after", b"key-0", partition=0)
    by.commit_transaction(DEADLINE)
    last = read_rdkafka(name, isolation="read_committed")[-1]
    expect(last[1:3] == (b"key-0", b"after"), f"the producer goes on: {last}")
    return f"{len(records)} of 212 records are left"


run([
    keys_are_shown_and_changed,
    last_values_stay_at_their_offsets,
    tombstones_go_in_their_time,
    records_without_a_key_are_refused,
    what_was_aborted_goes_and_outdates_nothing,
])
