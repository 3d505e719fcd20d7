"""confluent-kafka (librdkafka) on both sides of a listener with an output topic.

Usage: outputs.py HOST:PORT write SOURCE        (says "writing"; writes on through kills until a line is written to it)
       outputs.py HOST:PORT twice TARGET        (how many answers stand there twice, committed or not)
       outputs.py HOST:PORT read SOURCE TARGET  (once the listener has answered everything)

An answer names the input that it is made of: `PARTITION/OFFSET KEY`. A reader of what is committed has to find
the answer of every input once, and those of a key in the order of their inputs; of an input that the
endpoint refuses, whose offset REFUSED divides, its dead letter once instead. One of what is not committed may find
more: what a kill left of transactions that were aborted.
"""

import collections
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from common import address, expect, run

BROKER = address()
PARTITIONS, KEYS = 3, 17
# More a second than the listener answers here, so that every kill meets it at work.
BURST, PAUSE = 100, 0.05
PATIENCE = 60
# As the endpoint has it.
REFUSED = 29


def write(source):
    """Inputs of every key, in order and without repetition, until told that it is enough."""
    admin = AdminClient({"bootstrap.servers": BROKER})
    admin.create_topics([NewTopic(source, PARTITIONS, 1)])[source].result(30)
    producer = Producer({
        "bootstrap.servers": BROKER, "enable.idempotence": True, "linger.ms": 5,
        "message.timeout.ms": 120_000, "reconnect.backoff.max.ms": 200,
    })
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    acknowledged, refused = [], []

    def delivered(error, record):
        (refused if error else acknowledged).append(error or record.offset())

    sent = 0
    while not told.is_set():
        for number in range(sent, sent + BURST):
            key = number % KEYS
            producer.produce(
                source, str(number), key=f"k{key}", partition=key % PARTITIONS, on_delivery=delivered
            )
        if sent == 0:
            print("writing", flush=True)
        sent += BURST
        producer.poll(PAUSE)
        told.wait(PAUSE)
    expect(producer.flush(PATIENCE) == 0, "not all was acknowledged")
    expect(not refused, f"refused: {refused[:3]}")
    expect(len(acknowledged) == sent, f"{len(acknowledged)} of {sent} acknowledged")
    return f"{sent} inputs"


def read(topic, isolation):
    """All records that such a reader finds, by partition in their order."""
    consumer = Consumer({
        "bootstrap.servers": BROKER, "group.id": "outputs", "enable.auto.commit": False,
        "isolation.level": isolation, "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    records, open_ones, deadline = [], set(partitions), time.monotonic() + PATIENCE
    while open_ones:
        expect(time.monotonic() < deadline, f"{topic} was not read to its end within {PATIENCE} s")
        for record in consumer.consume(1000, 0.2):
            if record.error() is None:
                records.append(record)
            elif record.error().code() == KafkaError._PARTITION_EOF:
                open_ones.discard(record.partition())
            else:
                raise AssertionError(record.error())
    consumer.close()
    return records


def origin(letter):
    """The input that a dead letter is about, as an answer would name it."""
    headers = {name: value.decode() for name, value in letter.headers()}
    return f"{headers['x-dlq-partition']}/{headers['x-dlq-offset']} {letter.key().decode()}"


def answers(source, target):
    """Every input's answer once, in the order of its key, or its dead letter once."""
    inputs, given_up = set(), set()
    for one in read(source, "read_committed"):
        name = f"{one.partition()}/{one.offset()} {one.key().decode()}"
        (inputs if one.offset() % REFUSED else given_up).add(name)
    expect(len(inputs) > 1_000, f"{len(inputs)} inputs are too few to say anything")
    letters = collections.Counter(origin(one) for one in read(f"{source}.dlq", "read_committed"))
    twice = [name for name, count in letters.items() if count > 1]
    expect(not twice, f"{len(twice)} dead letters more than once: {twice[:5]}")
    expect(letters.keys() == given_up, f"dead letters: {sorted(letters.keys() ^ given_up)[:5]}")
    committed = read(target, "read_committed")
    times = collections.Counter(one.value().decode() for one in committed)
    lost = sorted(inputs - times.keys())
    expect(not lost, f"{len(lost)} inputs without an answer: {lost[:5]}")
    twice = [value for value, count in times.items() if count > 1]
    expect(not twice, f"{len(twice)} answers more than once: {twice[:5]}")
    foreign = sorted(times.keys() - inputs)
    expect(not foreign, f"answers of no input: {foreign[:5]}")
    last, places = {}, {}
    for one in committed:
        value = one.value().decode()
        offset, key = int(value.split()[0].split("/")[1]), one.key().decode()
        expect(value.endswith(f" {key}"), f"'{value}' has the key {key}")
        expect(places.setdefault(key, one.partition()) == one.partition(), f"{key} is in two partitions")
        expect(last.get(key, -1) < offset, f"{key}: the answer of {offset} comes after that of {last.get(key)}")
        last[key] = offset
    every = collections.Counter(one.value().decode() for one in read(target, "read_uncommitted"))
    expect(every >= times, "what is committed is not all there")
    aborted = sum(every.values()) - len(inputs)
    return f"{len(inputs)} answers and {len(letters)} dead letters once each, {aborted} more answers of aborted transactions"


def twice(target):
    times = collections.Counter(one.value() for one in read(target, "read_uncommitted"))
    return f"{sum(count > 1 for count in times.values())} answers stand twice"


if sys.argv[2] == "write":
    def inputs_are_written_through_kills():
        return write(sys.argv[3])

    run([inputs_are_written_through_kills])
elif sys.argv[2] == "twice":
    def the_log_is_read():
        return twice(sys.argv[3])

    run([the_log_is_read])
else:
    def every_input_has_its_answer_once_and_in_order():
        return answers(sys.argv[3], sys.argv[4])

    run([every_input_has_its_answer_once_and_in_order])
