"""confluent-kafka: members of the consumer protocol that stay while the server is killed and comes back.

Usage: consumers_stay.py HOST:PORT    (says "reading"; then kill and start the server, and write "back" to it)

Two members and a producer run all the time. In the end every record was read, none that was committed
came twice, and no member had to give anything back: the group came back as its members know it.
"""

import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from common import address, expect, number_of, run, unique, value

BROKER = address()
PARTITIONS = 4
BEFORE, AFTER = 500, 500


class Member(threading.Thread):
    """Reads, and commits after each batch; what fails while the server is away is tried again."""

    def __init__(self, topic, group):
        super().__init__(daemon=True)
        self.topic = topic
        self.consumer = Consumer({
            "bootstrap.servers": BROKER, "group.id": group, "group.protocol": "consumer",
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
            "reconnect.backoff.max.ms": 500,
        })
        self.moves, self.numbers, self.committed, self.refused = [], {}, {}, []
        self.stopping, self.failure = threading.Event(), None
        self.consumer.subscribe(
            [topic],
            on_assign=lambda _, all: self.moves.append(("given", [at.partition for at in all])),
            on_revoke=lambda _, all: self.moves.append(("back", [at.partition for at in all])),
            on_lost=lambda _, all: self.moves.append(("lost", [at.partition for at in all])),
        )
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.read()
            self.consumer.close()
        except Exception as error:
            self.failure = error

    def read(self):
        batch = self.consumer.consume(50, 0.1)
        for record in batch:
            if record.error():
                self.refused.append(record.error().name())
                continue
            at, offset = record.partition(), record.offset()
            expect(offset >= self.committed.get(at, 0), f"{at}/{offset} was committed and came again")
            expect((at, offset) not in self.numbers, f"{at}/{offset} came twice")
            self.numbers[at, offset] = number_of(self.topic, at, record.value())
        if not batch:
            return
        try:
            for at in self.consumer.commit(asynchronous=False):
                self.committed[at.partition] = at.offset
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                self.refused.append(error.args[0].name())


def wait_for(members, holds, what):
    deadline = time.monotonic() + 60
    while not holds():
        for member in members:
            expect(member.failure is None, f"a member failed: {member.failure!r}")
        expect(time.monotonic() < deadline, f"waited 60 s for {what}")
        time.sleep(0.02)


def members_and_a_producer_outlive_a_kill():
    topic, group = unique("rd-stays"), unique("stays")
    admin = AdminClient({"bootstrap.servers": BROKER})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": BROKER, "enable.idempotence": True, "linger.ms": 1})
    back = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), back.set()), daemon=True).start()
    written, lost = 0, []

    def write():
        nonlocal written
        partition = written % PARTITIONS
        producer.produce(
            topic, value(topic, partition, written), partition=partition,
            on_delivery=lambda error, _: lost.append(error) if error else None,
        )
        producer.poll(0)
        written += 1

    while written < BEFORE:
        write()
    producer.flush(30)
    members = [Member(topic, group), Member(topic, group)]
    shares = lambda: [sum(len(all) * (1 if word == "given" else -1) for word, all in m.moves) for m in members]
    read = lambda: sum(len(member.numbers) for member in members)
    wait_for(members, lambda: shares() == [PARTITIONS // 2] * 2, "an even share")
    wait_for(members, lambda: read() >= BEFORE, "the first records")
    time.sleep(1)
    moves = [list(member.moves) for member in members]
    print("reading", flush=True)
    # Goes on writing while the server dies and comes back.
    while not back.is_set():
        write()
        time.sleep(0.002)
    at_return, begun = written, time.monotonic()
    for _ in range(AFTER):
        write()
    expect(producer.flush(60) == 0 and not lost, f"not everything was written: {lost[:3]}")
    wait_for(members, lambda: read() >= written, "all records")
    took = time.monotonic() - begun
    # Long enough for two heartbeats of each.
    time.sleep(11)
    for member, before in zip(members, moves):
        expect(member.moves == before, f"a member was moved: {member.moves[len(before):]}")
        member.stopping.set()
        member.join(30)
        expect(member.failure is None, f"a member failed: {member.failure!r}")
    numbers = sorted(number for member in members for number in member.numbers.values())
    expect(numbers == list(range(written)), "each record came once")
    refused = sorted({name for member in members for name in member.refused})
    return f"{at_return} + {AFTER} records; all read {took:.1f} s after the return; {refused}"


run([members_and_a_producer_outlive_a_kill])
