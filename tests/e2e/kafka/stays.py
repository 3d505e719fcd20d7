"""kafka-python that stays connected while the server is killed and comes back on the same port.

Usage: stays.py HOST:PORT    (says "reading"; then kill and start the server, and write "back" to it)

One producer and one group member run all the time. In the end every acknowledged record was read, at
the offset that its number says, and none below a committed offset came twice.
"""

import sys
import threading
import time

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from common import address, expect, number_of, run, unique, value

BROKER = address()
BEFORE, AFTER = 500, 500


class Member(threading.Thread):
    """Reads, and commits after each poll; what fails while the server is away is tried again."""

    def __init__(self, topic):
        super().__init__(daemon=True)
        self.topic = topic
        self.consumer = KafkaConsumer(
            topic, bootstrap_servers=BROKER, group_id=unique("stays"), auto_offset_reset="earliest",
            enable_auto_commit=False, max_poll_records=50, session_timeout_ms=10_000,
            heartbeat_interval_ms=300,
        )
        self.numbers = {}
        self.committed = 0
        self.refused = []
        self.stopping = threading.Event()
        self.failure = None
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.read()
            self.consumer.close()
        except Exception as error:
            self.failure = error

    def read(self):
        for batch in self.consumer.poll(timeout_ms=100).values():
            for record in batch:
                expect(record.offset >= self.committed, f"{record.offset} was committed and came again")
                self.numbers[record.offset] = number_of(self.topic, 0, record.value)
            try:
                self.consumer.commit()
                self.committed = batch[-1].offset + 1
            except KafkaError as error:
                self.refused.append(type(error).__name__)


def wait_for(member, holds, what):
    deadline = time.monotonic() + 60
    while not holds():
        expect(member.failure is None, f"the member failed: {member.failure!r}")
        expect(time.monotonic() < deadline, f"waited 60 s for {what}: {len(member.numbers)} read")
        time.sleep(0.02)


def a_member_and_a_producer_outlive_a_kill():
    topic = unique("py-stays")
    producer = KafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True, linger_ms=1)
    back = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), back.set()), daemon=True).start()
    sent = []

    def send():
        number = len(sent)
        sent.append(producer.send(topic, value(topic, 0, number), partition=0))

    while len(sent) < BEFORE:
        send()
    producer.flush(timeout=30)
    member = Member(topic)
    wait_for(member, lambda: member.committed >= BEFORE // 2, "the first commits")
    print("reading", flush=True)
    # Goes on writing while the server dies and comes back.
    while not back.is_set():
        send()
        time.sleep(0.002)
    at_return, begun = len(sent), time.monotonic()
    for _ in range(AFTER):
        send()
    producer.flush(timeout=60)
    offsets = [future.get(timeout=60).offset for future in sent]
    expect(offsets == list(range(len(sent))), "the offset of a record is its number")
    wait_for(member, lambda: len(member.numbers) == len(sent), "all records")
    took = time.monotonic() - begun
    wait_for(member, lambda: member.committed == len(sent), "the last commit")
    member.stopping.set()
    member.join(30)
    expect(member.failure is None, f"the member failed: {member.failure!r}")
    expect(all(offset == number for offset, number in member.numbers.items()), "order is kept")
    producer.close()
    return f"{at_return} + {AFTER} records; all read {took:.1f} s after the return; {member.refused}"


run([a_member_and_a_producer_outlive_a_kill])
