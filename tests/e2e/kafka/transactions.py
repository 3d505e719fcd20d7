"""kafka-python: transactions over several partitions, their offsets, fencing, and who sees what.

Usage: transactions.py HOST:PORT
"""

import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from common import address, expect, run, unique

BROKER = address()
PARTITIONS = 3


def topic(name):
    name = unique(name)
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    admin.close()
    return name


def producer(name, **more):
    made = KafkaProducer(bootstrap_servers=BROKER, transactional_id=name, **more)
    made.init_transactions()
    return made


def read(name, isolation="read_committed", quiet_ms=700):
    """All values a reader of this isolation sees, until nothing comes for a while."""
    consumer = KafkaConsumer(
        bootstrap_servers=BROKER, isolation_level=isolation, auto_offset_reset="earliest",
        consumer_timeout_ms=quiet_ms, enable_auto_commit=False,
    )
    consumer.assign([TopicPartition(name, number) for number in range(PARTITIONS)])
    values = [record.value.decode() for record in consumer]
    consumer.close()
    return values


def send(by, name, values):
    for number, value in enumerate(values):
        by.send(name, value.encode(), partition=number % PARTITIONS)


def commits_show_and_aborts_do_not():
    name = topic("commit-abort")
    by = producer(unique("commit-abort"))
    expected = []
    for turn in range(30):
        commits = turn % 3 != 1
        values = [f"{'commit' if commits else 'abort'}-{turn}-{number}" for number in range(7)]
        by.begin_transaction()
        send(by, name, values)
        by.flush()
        if commits:
            by.commit_transaction()
            expected += values
        else:
            by.abort_transaction()
    seen = read(name)
    expect(sorted(seen) == sorted(expected), f"{len(seen)} seen, {len(expected)} committed")
    all_of_them = read(name, "read_uncommitted")
    expect(len(all_of_them) == 30 * 7, f"{len(all_of_them)} uncommitted")
    by.close()
    return f"{len(seen)} of {len(all_of_them)} records count"


def readers_wait_for_an_open_transaction():
    name = topic("open")
    plain = KafkaProducer(bootstrap_servers=BROKER)
    send(plain, name, ["before-0", "before-1", "before-2"])
    plain.flush()
    by = producer(unique("open"))
    by.begin_transaction()
    send(by, name, ["open-0", "open-1", "open-2"])
    by.flush()
    send(plain, name, ["after-0", "after-1", "after-2"])
    plain.flush()
    seen = read(name)
    expect(sorted(seen) == ["before-0", "before-1", "before-2"], f"{seen}")
    begun = time.monotonic()
    by.commit_transaction()
    took = time.monotonic() - begun
    seen = read(name)
    expect(len(seen) == 9, f"{seen}")
    by.close()
    plain.close()
    return f"the commit took {took * 1000:.0f} ms"


def a_newer_producer_fences_the_older():
    name, transactional = topic("fence"), unique("fence")
    old = producer(transactional)
    old.begin_transaction()
    send(old, name, ["zombie-0", "zombie-1"])
    old.flush()
    new = producer(transactional)
    new.begin_transaction()
    send(new, name, ["new-0", "new-1"])
    new.commit_transaction()
    try:
        send(old, name, ["zombie-2"])
        old.commit_transaction()
        refused = None
    except KafkaError as error:
        refused = error
    expect(refused is not None, "the older producer committed")
    seen = read(name)
    expect(sorted(seen) == ["new-0", "new-1"], f"{seen}")
    new.close()
    old.close(timeout=1)
    return f"the older heard: {refused!r}"


def offsets_are_part_of_the_transaction():
    source, target = topic("source"), topic("target")
    group = unique("offsets")
    plain = KafkaProducer(bootstrap_servers=BROKER)
    send(plain, source, [str(number) for number in range(60)])
    plain.flush()
    by = producer(unique("offsets"))
    at = TopicPartition(source, 0)
    member = KafkaConsumer(bootstrap_servers=BROKER, group_id=group, enable_auto_commit=False)
    member.assign([at])
    for turn in range(4):
        by.begin_transaction()
        send(by, target, [f"turn-{turn}"])
        by.send_offsets_to_transaction({at: OffsetAndMetadata(turn + 1, "", -1)}, group)
        if turn % 2 == 0:
            by.commit_transaction()
        else:
            by.abort_transaction()
        counted = turn + 1 if turn % 2 == 0 else turn
        expect(member.committed(at) == counted, f"turn {turn}: {member.committed(at)}")
    seen = read(target)
    expect(sorted(seen) == ["turn-0", "turn-2"], f"{seen}")
    for each in (member, by, plain):
        each.close()
    return "two of four turns count, with their offsets"


def too_long_a_timeout_is_refused():
    try:
        producer(unique("long"), transaction_timeout_ms=3_600_000)
    except KafkaError as error:
        return repr(error)
    raise AssertionError("an hour is longer than the maximum")


def an_abandoned_transaction_ends_by_itself():
    name = topic("abandoned")
    by = producer(unique("abandoned"), transaction_timeout_ms=1_000)
    by.begin_transaction()
    send(by, name, ["left"])
    by.flush()
    plain = KafkaProducer(bootstrap_servers=BROKER)
    plain.send(name, b"behind", partition=0).get(10)
    expect(read(name, quiet_ms=300) == [], "it is open")
    deadline = time.monotonic() + 20
    while read(name, quiet_ms=300) != ["behind"]:
        expect(time.monotonic() < deadline, "it hangs")
    plain.close()
    by.close(timeout=1)
    return "readers go on"


run([
    commits_show_and_aborts_do_not,
    readers_wait_for_an_open_transaction,
    a_newer_producer_fences_the_older,
    offsets_are_part_of_the_transaction,
    too_long_a_timeout_is_refused,
    an_abandoned_transaction_ends_by_itself,
])
