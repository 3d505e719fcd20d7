"""kafka-python before and after a restart of the server: records, groups and sequences go on.

Usage: restart.py HOST:PORT before STATE.json    (then restart the server, also with kill -9)
       restart.py HOST:PORT after STATE.json
"""

import json
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from common import address, expect, number_of, run, unique, value

BROKER = address()


def before():
    topic, group = unique("restart"), unique("restart-group")
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "123456789"})])
    producer = KafkaProducer(bootstrap_servers=BROKER, compression_type="lz4")
    for number in range(1_000):
        producer.send(topic, value(topic, number % 2, number), partition=number % 2)
    producer.flush()
    producer.close()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=BROKER, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    seen = []
    while len(seen) < 300:
        for at, batch in consumer.poll(timeout_ms=500, max_records=50).items():
            seen.extend([at.partition, record.offset] for record in batch)
    consumer.commit()
    consumer.close(autocommit=False)
    with open(sys.argv[3], "w") as file:
        json.dump({"topic": topic, "group": group, "seen": seen}, file)
    return f"{len(seen)} of 1000 read and committed"


def after():
    with open(sys.argv[3]) as file:
        state = json.load(file)
    topic, seen = state["topic"], {tuple(pair) for pair in state["seen"]}
    consumer = KafkaConsumer(
        topic, bootstrap_servers=BROKER, group_id=state["group"], auto_offset_reset="none",
        enable_auto_commit=False,
    )
    deadline = time.monotonic() + 30
    while len(seen) < 1_000:
        expect(time.monotonic() < deadline, f"{len(seen)} of 1000 records after 30 s")
        for at, batch in consumer.poll(timeout_ms=500).items():
            for record in batch:
                expect((at.partition, record.offset) not in seen, "a committed record came again")
                seen.add((at.partition, record.offset))
                number_of(topic, at.partition, record.value)
    consumer.close()
    producer = KafkaProducer(bootstrap_servers=BROKER)
    offset = producer.send(topic, b"after", partition=0).get(timeout=10).offset
    producer.close()
    expect(offset == 500, f"the log goes on at 500, not {offset}")
    at = TopicPartition(topic, 1)
    reader = KafkaConsumer(bootstrap_servers=BROKER)
    expect(reader.end_offsets([at])[at] == 500, "partition 1 ends at 500")
    reader.close()


if len(sys.argv) != 4 or sys.argv[2] not in ("before", "after"):
    print(f"usage: {sys.argv[0]} HOST:PORT before|after STATE.json", file=sys.stderr)
    sys.exit(2)
run([before if sys.argv[2] == "before" else after])
