"""confluent-kafka: members of the consumer protocol come and go while the server is killed again and again.

Usage: consumers_churn.py HOST:PORT KILLS    (says "kill 0", "kill 1", …; after each of them kill and start
                                              the server, and write "back" to it)

Nobody waits for a rebalance to end before the next kill, so most of them fall into the middle of one. No
partition may be given to a member while another has it, and no record may be lost. Records come again
where a member could not commit while the server was away.
"""

import sys
import time
from collections import Counter

from confluent_kafka import KafkaError, KafkaException

from common import expect, number_of, run, unique
from consumers import PARTITIONS, Member, Owners, Writer, create, shared, wait_for

KILLS = int(sys.argv[2])


class Patient(Member):
    """A member that outlives a server which is away for a while."""

    def commit(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                return super().commit()
            except KafkaException as error:
                # Who was removed meanwhile has nothing to commit any more.
                gone = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_MEMBER_EPOCH)
                if error.args[0].code() in gone:
                    return
                time.sleep(0.1)

    def run(self):
        try:
            while not self.stopping.is_set():
                record = self.consumer.poll(0.1)
                if record is None:
                    continue
                if record.error():
                    expect(not record.error().fatal(), f"{record.error()}")
                    continue
                number = number_of(record.topic(), record.partition(), record.value())
                with self.lock:
                    self.counts[number] += 1
            self.consumer.close()
        except Exception as error:
            self.failure = error


def members_come_and_go_through_kills():
    topic, group, owners = create(unique("rd-churn")), unique("churn"), Owners()
    writer = Writer(topic)
    members = [Patient(f"member {number}", [topic], group, owners) for number in range(3)]
    came, left, seen = 3, 0, Counter()
    wait_for(lambda: shared(owners, members, PARTITIONS), "a first share")
    for kill in range(KILLS):
        members.append(Patient(f"member {came}", [topic], group, owners))
        came += 1
        # A different moment of the rebalance each time.
        time.sleep(0.35 * (kill + 1))
        print(f"kill {kill}", flush=True)
        sys.stdin.readline()
        gone = members.pop(0)
        seen += gone.stop()
        left += 1
        owners.check()
    written = writer.stop()
    wait_for(lambda: shared(owners, members, PARTITIONS), "a last share", 60)
    total = lambda: sum((member.seen() for member in members), seen)
    wait_for(lambda: len(total()) == written, "all records", 60)
    for member in members:
        member.stop()
    owners.check()
    expect(set(total()) == set(range(written)), "a record was lost")
    again = sum(1 for count in total().values() if count > 1)
    return f"{written} records through {KILLS} kills, {again} came again; {came} came, {left} left"


run([members_come_and_go_through_kills])
