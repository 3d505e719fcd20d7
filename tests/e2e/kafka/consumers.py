"""confluent-kafka (librdkafka): groups of the consumer protocol, KIP-848.

Usage: consumers.py HOST:PORT           runs the checks
       consumers.py HOST:PORT member TOPIC GROUP    one member as a process, to be killed

Every member reports what it is given and what it gives back as it happens. A partition that is given to
one while another has it fails the run at once.
"""

import subprocess
import sys
import threading
import time
from collections import Counter

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from common import address, expect, number_of, run, unique, value

BROKER = address()
PARTITIONS = 6

# A dead member's session is 45 s.
LONG = 90


ADMIN = AdminClient({"bootstrap.servers": BROKER})


def create(name, partitions=PARTITIONS):
    ADMIN.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    return name


def consumer(group, protocol="consumer", **more):
    settings = {
        "bootstrap.servers": BROKER, "group.id": group, "group.protocol": protocol,
        "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 1000,
    }
    return Consumer({**settings, **more})


def wait_for(holds, what, limit=30):
    deadline = time.monotonic() + limit
    while not holds():
        expect(time.monotonic() < deadline, f"waited {limit} s for {what}")
        time.sleep(0.02)


class Owners:
    """Who has which partition, as the members say themselves."""

    def __init__(self):
        self.lock = threading.Lock()
        self.of = {}
        self.breaches = []

    def given(self, member, partitions):
        with self.lock:
            for at in partitions:
                before = self.of.setdefault(at, member)
                if before != member:
                    self.breaches.append(f"{at} was given to {member} while {before} has it")

    def back(self, member, partitions):
        with self.lock:
            for at in partitions:
                if self.of.get(at) == member:
                    del self.of[at]

    def everything_of(self, member):
        with self.lock:
            return sorted(at for at, owner in self.of.items() if owner == member)

    def check(self):
        expect(not self.breaches, "; ".join(self.breaches))


class Writer(threading.Thread):
    """Writes numbered records in turn to all partitions until told to stop."""

    def __init__(self, topic, partitions=PARTITIONS):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.written = topic, partitions, 0
        self.stopping = threading.Event()
        self.producer = Producer({"bootstrap.servers": BROKER, "linger.ms": 2})
        self.start()

    def run(self):
        while not self.stopping.is_set():
            partition = self.written % self.partitions
            data = value(self.topic, partition, self.written)
            self.producer.produce(self.topic, data, partition=partition)
            self.written += 1
            self.producer.poll(0)
            time.sleep(0.001)

    def stop(self):
        self.stopping.set()
        self.join()
        expect(self.producer.flush(30) == 0, "not everything was written")
        return self.written


class Member(threading.Thread):
    """Reads, commits when it gives partitions back and when it leaves."""

    def __init__(self, name, topics, group, owners, **more):
        super().__init__(daemon=True)
        self.owners, self.name = owners, name
        self.counts, self.lock, self.failure, self.moves = Counter(), threading.Lock(), None, 0
        self.stopping = threading.Event()
        self.consumer = consumer(group, **{"client.id": name, **more})
        self.consumer.subscribe(topics, on_assign=self.given, on_revoke=self.back, on_lost=self.lost)
        self.start()

    def given(self, _, partitions):
        self.moves += 1
        self.owners.given(self.name, [(at.topic, at.partition) for at in partitions])

    def back(self, _, partitions):
        self.moves += 1
        self.commit()
        self.owners.back(self.name, [(at.topic, at.partition) for at in partitions])

    def lost(self, _, partitions):
        self.owners.back(self.name, [(at.topic, at.partition) for at in partitions])

    def commit(self):
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise

    def run(self):
        try:
            while not self.stopping.is_set():
                record = self.consumer.poll(0.1)
                if record is None:
                    continue
                if record.error():
                    raise KafkaException(record.error())
                number = number_of(record.topic(), record.partition(), record.value())
                with self.lock:
                    self.counts[number] += 1
            self.consumer.close()
        except Exception as error:
            self.failure = error

    def stop(self):
        self.stopping.set()
        self.join(30)
        expect(not self.is_alive(), f"{self.name} did not leave in 30 s")
        expect(self.failure is None, f"{self.name} failed: {self.failure!r}")
        return self.seen()

    def seen(self):
        with self.lock:
            return Counter(self.counts)

    def has(self):
        return self.owners.everything_of(self.name)


def shared(owners, members, count):
    """Whether the members have everything, no two of them more than one apart."""
    owners.check()
    sizes = [len(member.has()) for member in members]
    return sum(sizes) == count and max(sizes) - min(sizes) <= 1


def members_come_go_and_die_under_load():
    topic, group, owners = create(unique("rd-load")), unique("readers"), Owners()
    writer = Writer(topic)
    first = Member("first", [topic], group, owners)
    wait_for(lambda: shared(owners, [first], PARTITIONS), "one member to have all")
    second = Member("second", [topic], group, owners)
    wait_for(lambda: shared(owners, [first, second], PARTITIONS), "two to share")
    before = {member.name: set(member.has()) for member in (first, second)}
    third = Member("third", [topic], group, owners)
    wait_for(lambda: shared(owners, [first, second, third], PARTITIONS), "three to share")
    for member in (first, second):
        expect(set(member.has()) < before[member.name], f"{member.name} got what it had not")
    gone = second.stop()
    wait_for(lambda: shared(owners, [first, third], PARTITIONS), "two to share again")

    # A process that dies holds its partitions until its session is over, and nobody else has them.
    victim = subprocess.Popen(
        [sys.executable, __file__, BROKER, "member", topic, group], stdout=subprocess.PIPE, text=True,
    )
    held = []
    while len(held) < PARTITIONS // 3:
        word, partition = victim.stdout.readline().split()
        if word == "given":
            held.append((topic, int(partition)))
    owners.given("victim", held)
    wait_for(lambda: len(first.has() + third.has()) == PARTITIONS - len(held), "three to share")
    victim.kill()
    victim.wait()
    died = time.monotonic()
    owners.back("victim", held)
    time.sleep(3)
    expect(not set(first.has() + third.has()) & set(held), "a session ended before its time")
    wait_for(lambda: shared(owners, [first, third], PARTITIONS), "two to take over", LONG)
    took = time.monotonic() - died

    written = writer.stop()
    total = lambda: gone + first.seen() + third.seen()
    # What the victim read and committed, nobody else sees: it commits nothing.
    wait_for(lambda: len(total()) == written, "all records")
    first.stop()
    third.stop()
    owners.check()
    expect(set(total()) == set(range(written)), "a record was lost")
    doubled = sum(1 for count in total().values() if count > 1)
    expect(doubled == 0, f"{doubled} records were read again though their offsets were committed")
    return f"{written} records, none twice; a dead member's share was taken over after {took:.0f} s"


def patterns_find_topics_and_topics_grow():
    prefix, owners = unique("rd-pattern"), Owners()
    create(f"{prefix}.a", 2)
    members = [Member(name, [f"^{prefix}\\..*"], unique(prefix), owners) for name in ("one",)]
    wait_for(lambda: shared(owners, members, 2), "the first topic")
    create(f"{prefix}.b", 3)
    wait_for(lambda: shared(owners, members, 5), "a topic that appears")
    ADMIN.create_partitions([NewPartitions(f"{prefix}.a", 4)])[f"{prefix}.a"].result(30)
    wait_for(lambda: shared(owners, members, 7), "a topic that grows")
    ADMIN.delete_topics([f"{prefix}.b"])[f"{prefix}.b"].result(30)
    wait_for(lambda: shared(owners, members, 4), "a topic that vanishes")
    for member in members:
        member.stop()
    bad = consumer(unique("bad"))
    # librdkafka takes it, RE2 has no references back.
    bad.subscribe(["^(a)\\1$"])
    deadline, said = time.monotonic() + 30, None
    while said is None and time.monotonic() < deadline:
        record = bad.poll(0.1)
        said = record.error() if record is not None else None
    bad.close()
    expect(said is not None, "a pattern that is none is refused")
    return f"refused: {said.code()}"


def static_members_return_to_what_they_had():
    topic, group, owners = create(unique("rd-static")), unique("static"), Owners()
    names = {"group.instance.id": "one"}
    one = Member("one", [topic], group, owners, **names)
    two = Member("two", [topic], group, owners)
    wait_for(lambda: shared(owners, [one, two], PARTITIONS), "two to share")
    had, moves = one.has(), two.moves
    one.stop()
    again = Member("one", [topic], group, owners, **names)
    wait_for(lambda: again.has() == had, "the same partitions")
    expect(two.moves == moves, "the other member was disturbed")
    taken = consumer(group, **names)
    taken.subscribe([topic])
    deadline, said = time.monotonic() + 30, None
    while said is None and time.monotonic() < deadline:
        record = taken.poll(0.1)
        said = record.error() if record is not None else None
    expect(said is not None, "an instance id that is in use is refused")
    taken.close()
    again.stop()
    two.stop()
    owners.check()
    return f"in use: {said.code()}"


def read(member, count):
    """So many records' numbers, committed."""
    numbers, deadline = [], time.monotonic() + 30
    while len(numbers) < count:
        expect(time.monotonic() < deadline, f"{len(numbers)} of {count} records after 30 s")
        for record in member.consume(count - len(numbers), 0.5):
            if record.error():
                raise KafkaException(record.error())
            numbers.append(number_of(record.topic(), record.partition(), record.value()))
    member.commit(asynchronous=False)
    return numbers


def an_empty_group_changes_its_protocol_and_keeps_its_offsets():
    topic, group = create(unique("rd-both"), 1), unique("both")
    producer = Producer({"bootstrap.servers": BROKER})
    for number in range(90):
        producer.produce(topic, value(topic, 0, number), partition=0)
    expect(producer.flush(30) == 0, "not everything was written")
    at = 0
    for protocol in ("classic", "consumer", "classic"):
        member = consumer(group, protocol)
        member.subscribe([topic])
        expect(read(member, 30) == list(range(at, at + 30)), f"{protocol} goes on at {at}")
        at += 30
        # While it is there, a member of the other protocol is refused.
        other = consumer(group, "consumer" if protocol == "classic" else "classic")
        other.subscribe([topic])
        said, deadline = None, time.monotonic() + 10
        while said is None and time.monotonic() < deadline:
            member.poll(0)
            record = other.poll(0.1)
            said = record.error() if record is not None else None
        other.close()
        expect(said is not None, f"a member of the other protocol was let in beside {protocol}")
        member.close()
        listed = ADMIN.list_consumer_groups().result(30).valid
        kinds = [one.type.name for one in listed if one.group_id == group]
        expect(kinds == [protocol.upper()], f"listed as {kinds}, was {protocol}")
    return f"{at} records over three changes; a stranger hears {said.code() if said else 'nothing'}"


def administrators_see_and_delete_groups():
    topic, group, owners = create(unique("rd-admin"), 2), unique("admin"), Owners()
    member = Member("watched", [topic], group, owners)
    wait_for(lambda: shared(owners, [member], 2), "both partitions")
    described = ADMIN.describe_consumer_groups([group])[group].result(30)
    expect(described.state.name == "STABLE", f"{described.state}")
    expect(described.partition_assignor == "uniform", described.partition_assignor)
    has = [at.partition for at in described.members[0].assignment.topic_partitions]
    expect(sorted(has) == [0, 1], f"{has}")
    try:
        ADMIN.delete_consumer_groups([group])[group].result(30)
        expect(False, "a group with a member was deleted")
    except KafkaException as error:
        expect(error.args[0].code() == KafkaError.NON_EMPTY_GROUP, str(error))
    member.stop()
    plain = consumer(group)
    plain.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    plain.close()
    ADMIN.delete_consumer_groups([group])[group].result(30)
    listed = ADMIN.list_consumer_groups().result(30).valid
    expect(group not in [one.group_id for one in listed], "the group is still listed")


def member():
    """One member of its own process; says what it is given. It reads nothing, so nothing is committed."""
    topic, group = sys.argv[3:5]
    one = consumer(group)

    def say(word, partitions):
        for at in partitions:
            print(word, at.partition, flush=True)

    one.subscribe(
        [topic],
        on_assign=lambda it, all: (say("given", all), it.incremental_assign(all), it.pause(all)),
        on_revoke=lambda it, all: (say("back", all), it.incremental_unassign(all)),
    )
    while True:
        one.poll(0.1)


if __name__ == "__main__":
    if sys.argv[2:3] == ["member"]:
        member()
    run(
        [
            an_empty_group_changes_its_protocol_and_keeps_its_offsets,
            static_members_return_to_what_they_had,
            patterns_find_topics_and_topics_grow,
            administrators_see_and_delete_groups,
            members_come_go_and_die_under_load,
        ]
    )
