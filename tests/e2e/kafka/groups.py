"""kafka-python: groups that rebalance, commits that resume, offsets that can be managed.

Usage: groups.py HOST:PORT
"""

import threading
import time
from collections import Counter

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

from common import address, expect, number_of, run, unique, value

BROKER = address()
PARTITIONS = 6


def create(name, partitions=PARTITIONS):
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    admin.create_topics([NewTopic(name, partitions, 1)])
    admin.close()
    return name


def produce(topic, start, stop, partitions=PARTITIONS):
    producer = KafkaProducer(bootstrap_servers=BROKER, linger_ms=5)
    for number in range(start, stop):
        partition = number % partitions
        producer.send(topic, value(topic, partition, number), partition=partition)
    producer.flush(timeout=30)
    producer.close()


class Member(threading.Thread):
    """A consumer in a thread of its own, which commits what it has read before it leaves."""

    def __init__(self, topic, group):
        super().__init__(daemon=True)
        self.consumer = KafkaConsumer(
            topic,
            bootstrap_servers=BROKER,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=True,
            auto_commit_interval_ms=200,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=300,
        )
        self.topic = topic
        self.seen = Counter()
        self.assigned = set()
        self.stopping = threading.Event()
        self.failure = None
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                for at, records in self.consumer.poll(timeout_ms=200).items():
                    for record in records:
                        self.seen[number_of(self.topic, at.partition, record.value)] += 1
                self.assigned = {at.partition for at in self.consumer.assignment()}
            self.consumer.close()
        except Exception as error:
            self.failure = error

    def stop(self):
        self.stopping.set()
        self.join(30)
        expect(not self.is_alive(), "a member did not leave in 30 s")
        expect(self.failure is None, f"a member failed: {self.failure!r}")


def settled(members):
    """Waits until each partition belongs to exactly one member and each member has its share."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        shares = [set(member.assigned) for member in members]
        everything = [partition for share in shares for partition in share]
        even = all(len(share) == PARTITIONS // len(members) for share in shares)
        if even and sorted(everything) == list(range(PARTITIONS)):
            return
        time.sleep(0.05)
    raise AssertionError(f"not settled after 30 s: {[sorted(m.assigned) for m in members]}")


def members_come_and_go():
    topic, group = create(unique("py-group")), unique("readers")
    produce(topic, 0, 600)
    first = Member(topic, group)
    settled([first])
    second = Member(topic, group)
    settled([first, second])
    produce(topic, 600, 1200)
    third = Member(topic, group)
    settled([first, second, third])
    produce(topic, 1200, 1800)
    wait_for(lambda: len(first.seen + second.seen + third.seen) == 1800, "all 1800 records")
    second.stop()
    settled_after(group, topic, [first, third])
    produce(topic, 1800, 2400)
    wait_for(lambda: len(first.seen + second.seen + third.seen) == 2400, "all 2400 records")
    first.stop()
    third.stop()
    total = first.seen + second.seen + third.seen
    expect(set(total) == set(range(2400)), "a record was lost")
    doubled = sum(1 for count in total.values() if count > 1)
    return f"2400 records, {doubled} read again after a rebalance"


def settled_after(group, topic, members):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        shares = [set(member.assigned) for member in members]
        if sorted(p for share in shares for p in share) == list(range(PARTITIONS)):
            return
        time.sleep(0.05)
    raise AssertionError(f"not settled after a member left: {shares}")


def wait_for(holds, what):
    deadline = time.monotonic() + 30
    while not holds():
        expect(time.monotonic() < deadline, f"waited 30 s for {what}")
        time.sleep(0.05)


def a_new_process_resumes_at_the_commit():
    topic, group = create(unique("py-resume"), 1), unique("resume")
    produce(topic, 0, 100, partitions=1)
    consumer = KafkaConsumer(
        topic, bootstrap_servers=BROKER, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False, max_poll_records=10,
    )
    read = []
    while len(read) < 40:
        for batch in consumer.poll(timeout_ms=1000).values():
            read.extend(batch)
    at = TopicPartition(topic, 0)
    consumer.commit({at: OffsetAndMetadata(40, "forty", -1)})
    expect(consumer.committed(at) == 40, "the commit is answered")
    consumer.close(autocommit=False)
    again = KafkaConsumer(
        topic, bootstrap_servers=BROKER, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    expect(again.committed(at, metadata=True).metadata == "forty", "the note comes back")
    rest = []
    deadline = time.monotonic() + 30
    while len(rest) < 60 and time.monotonic() < deadline:
        for batch in again.poll(timeout_ms=1000).values():
            rest.extend(batch)
    again.close()
    expect([record.offset for record in rest] == list(range(40, 100)), "resumes at 40")


def administrators_see_and_delete_groups():
    topic, group = create(unique("py-admin"), 2), unique("admin")
    produce(topic, 0, 20, partitions=2)
    consumer = KafkaConsumer(
        topic, bootstrap_servers=BROKER, group_id=group, auto_offset_reset="earliest",
        client_id="watched", enable_auto_commit=False,
    )
    while not consumer.assignment():
        consumer.poll(timeout_ms=200)
    consumer.poll(timeout_ms=1000)
    consumer.commit()
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    listed = str(admin.list_groups())
    expect(group in listed, f"{group} is not in {listed}")
    described = str(admin.describe_groups([group]))
    expect("Stable" in described and "watched" in described, described)
    try:
        deleted = str(admin.delete_groups([group]))
    except Exception as error:
        deleted = repr(error)
    expect("NonEmptyGroup" in deleted or "68" in deleted, f"deleted with a member: {deleted}")
    consumer.close()
    offsets = str(admin.list_group_offsets({group: None}))
    expect(topic in offsets, offsets)
    admin.delete_groups([group])
    expect(group not in str(admin.list_groups()), "the group is still listed")
    admin.close()


run(
    [
        members_come_and_go,
        a_new_process_resumes_at_the_commit,
        administrators_see_and_delete_groups,
    ]
)
