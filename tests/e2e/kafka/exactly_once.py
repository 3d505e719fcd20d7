"""confluent-kafka (librdkafka): consume, transform and produce exactly once, while workers are killed.

Usage: exactly_once.py HOST:PORT    (says "reading"; then kill and start the server, and write "back" to it)

Workers read numbers of one topic and write them to another, output and offsets in one transaction.
Some transactions they abort on purpose, with records that say so. They are killed and come back under
their transactional ids, and twice a twin takes over while the older still runs. In the end a reader of
what is committed sees every number once, and nothing that was aborted.
"""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKER = sys.argv[1] if len(sys.argv) > 1 else sys.exit("usage: exactly_once.py HOST:PORT")
INPUTS, OUTPUTS, NUMBERS = 4, 3, 1_600
PATIENCE = 100


def worker(source, target, group, transactional_id):
    """Runs until it is killed, or fenced by a twin."""
    consumer = Consumer({
        "bootstrap.servers": BROKER, "group.id": group, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "isolation.level": "read_committed",
        "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
    })
    producer = Producer({
        "bootstrap.servers": BROKER, "transactional.id": transactional_id,
        "transaction.timeout.ms": 10_000, "linger.ms": 5,
        # Its other way to come back, forgetting every broker, makes librdkafka 2.16 wait in vain for
        # the group's coordinator, which it still knows by the broker that it forgot.
        "metadata.recovery.strategy": "none",
    })
    producer.init_transactions(60)
    consumer.subscribe([source])
    while True:
        records = [record for record in consumer.consume(20, 0.5) if record.error() is None]
        if not records:
            continue
        commits = random.random() > 0.2
        try:
            producer.begin_transaction()
            for record in records:
                number = int(record.value())
                value = {"number": number, "commits": commits}
                producer.produce(target, json.dumps(value), partition=number % OUTPUTS)
            offsets = consumer.position(consumer.assignment())
            offsets = [offset for offset in offsets if offset.offset >= 0]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
            if commits:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)
                rewind(consumer)
        except KafkaException as raised:
            error = raised.args[0]
            print(f"{transactional_id}: {error}", file=sys.stderr, flush=True)
            if not error.txn_requires_abort():
                # Fenced, or it is not known how the transaction ended: whoever comes next knows.
                os._exit(3)
            producer.abort_transaction(60)
            rewind(consumer)


def rewind(consumer):
    """What was aborted is read again."""
    for place in consumer.committed(consumer.assignment(), 30):
        start = place.offset if place.offset >= 0 else 0
        consumer.seek(TopicPartition(place.topic, place.partition, start))


class Workers:
    """Two workers that are always there, whatever ends them."""

    def __init__(self, *args):
        self.args = args
        self.running = {name: self.start(name) for name in ("left", "right")}
        self.fading = []
        self.kills = self.fenced = 0

    def start(self, name):
        command = [sys.executable, __file__, BROKER, "worker", *self.args, f"{self.args[2]}-{name}"]
        return subprocess.Popen(command)

    def mind(self):
        for process in [process for process in self.fading if process.poll() is not None]:
            self.fading.remove(process)
            self.fenced += 1
        for name, process in self.running.items():
            if process.poll() is not None:
                self.fenced += 1
                self.running[name] = self.start(name)

    def kill(self, name):
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        self.kills += 1
        self.running[name] = self.start(name)

    def twin(self, name):
        """Another of the same id, while the first still runs: it learns with its next transaction."""
        self.fading.append(self.running[name])
        self.running[name] = self.start(name)

    def end(self):
        for process in [*self.running.values(), *self.fading]:
            process.kill()
            process.wait()


class Reader:
    """Everything a reader of what is committed sees, from the beginning."""

    def __init__(self, topic):
        self.consumer = Consumer({
            "bootstrap.servers": BROKER, "group.id": f"{topic}-check", "enable.auto.commit": False,
            "isolation.level": "read_committed", "auto.offset.reset": "earliest",
        })
        self.consumer.assign([TopicPartition(topic, number, 0) for number in range(OUTPUTS)])
        self.seen = collections.Counter()
        self.aborted = 0

    def read(self):
        for record in self.consumer.consume(500, 0.2):
            if record.error() is None:
                value = json.loads(record.value())
                self.seen[value["number"]] += 1
                self.aborted += not value["commits"]


def main():
    run = f"eos-{time.time_ns() // 1000:x}"
    source, target = f"{run}-in", f"{run}-out"
    admin = AdminClient({"bootstrap.servers": BROKER})
    topics = [NewTopic(source, INPUTS, 1), NewTopic(target, OUTPUTS, 1)]
    for made in admin.create_topics(topics).values():
        made.result(30)
    # Idempotent, so that a batch the kill left without an answer is not in the source twice.
    plain = Producer({"bootstrap.servers": BROKER, "enable.idempotence": True})
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    workers, reader = Workers(source, target, run), Reader(target)
    begun = time.monotonic()
    sent, said = 0, False
    steps = {300: lambda: workers.kill("left"), 600: lambda: workers.twin("right"),
             900: lambda: workers.kill("right"), 1200: lambda: workers.twin("left")}
    try:
        while len(reader.seen) < NUMBERS or max(reader.seen.values()) > 1:
            if time.monotonic() - begun > PATIENCE:
                raise AssertionError(f"{len(reader.seen)} of {NUMBERS} numbers came in time")
            if sent < NUMBERS:
                for number in range(sent, sent + 20):
                    plain.produce(source, str(number), partition=number % INPUTS)
                sent += 20
                plain.poll(0)
            workers.mind()
            reader.read()
            if reader.aborted:
                raise AssertionError(f"{reader.aborted} aborted records are seen")
            twice = [number for number, times in reader.seen.items() if times > 1]
            if twice:
                raise AssertionError(f"seen more than once: {twice[:9]}")
            for due in [due for due in steps if len(reader.seen) >= due]:
                steps.pop(due)()
            if not said and len(reader.seen) >= 450:
                print("reading", flush=True)
                said = True
        # What would come twice comes now.
        quiet = time.monotonic() + 3
        while time.monotonic() < quiet:
            reader.read()
        assert set(reader.seen.values()) == {1} and not reader.aborted, "something came late"
        # Only then has the server been killed in the midst of it.
        assert told.wait(30) or not said
    finally:
        workers.end()
    took = time.monotonic() - begun
    print(f"ok    {NUMBERS} numbers once each in {took:.1f} s; {workers.kills} workers killed, "
          f"{workers.fenced} fenced or given up", flush=True)
    print("VERDICT PASS", flush=True)


if len(sys.argv) > 2 and sys.argv[2] == "worker":
    worker(*sys.argv[3:])
else:
    try:
        main()
    except Exception as error:
        print(f"VERDICT FAIL {type(error).__name__}: {error}", flush=True)
        sys.exit(1)
