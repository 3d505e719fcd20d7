"""kafka-python's administration: topics, partitions, configuration, records, cluster.

Usage: admin.py HOST:PORT
"""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

from common import address, expect, run, unique

BROKER = address()
ADMIN = KafkaAdminClient(bootstrap_servers=BROKER)


def refused(code, call):
    """The call fails with this Kafka error."""
    try:
        said = call()
    except Exception as error:
        said = f"{type(error).__name__} {error}"
    expect(code.lower() in str(said).lower(), f"expected {code}, got {said}")


def topics():
    name = unique("admin-topic")
    ADMIN.create_topics([NewTopic(name, 3, 1)])
    expect(name in ADMIN.list_topics(), "it is listed")
    described = ADMIN.describe_topics([name])[0]
    expect(len(described["partitions"]) == 3, str(described))
    refused("TopicAlreadyExists", lambda: ADMIN.create_topics([NewTopic(name, 3, 1)]))
    refused("InvalidReplicationFactor", lambda: ADMIN.create_topics([NewTopic(unique("rf"), 1, 3)]))
    refused("InvalidPartitions", lambda: ADMIN.create_topics([NewTopic(unique("np"), 0, 1)]))
    refused("InvalidTopic", lambda: ADMIN.create_topics([NewTopic("no spaces", 1, 1)]))
    refused(
        "InvalidConfig",
        lambda: ADMIN.create_topics([NewTopic(unique("cf"), 1, 1, topic_configs={"retention.ms": "x"})]),
    )
    only = unique("only-validated")
    ADMIN.create_topics([NewTopic(only, 1, 1)], validate_only=True)
    expect(only not in ADMIN.list_topics(), "validate_only created it")
    ADMIN.delete_topics([name])
    expect(name not in ADMIN.list_topics(), "it is gone")
    refused("UnknownTopicOrPartition", lambda: ADMIN.delete_topics([name]))


def partitions():
    name = unique("admin-grow")
    ADMIN.create_topics([NewTopic(name, 2, 1)])
    ADMIN.create_partitions({name: NewPartitions(5)})
    described = ADMIN.describe_topics([name])[0]
    expect(len(described["partitions"]) == 5, str(described))
    refused("InvalidPartitions", lambda: ADMIN.create_partitions({name: NewPartitions(3)}))


def configuration():
    name = unique("admin-config")
    ADMIN.create_topics([NewTopic(name, 1, 1, topic_configs={"retention.ms": "60000"})])
    topic = ConfigResource(ConfigResourceType.TOPIC, name)
    shown = str(ADMIN.describe_configs([topic], config_filter="all"))
    for key in ("retention.ms", "60000", "segment.bytes", "max.message.bytes", "cleanup.policy"):
        expect(key in shown, f"{key} is not shown")
    ADMIN.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.bytes": "1048576"})])
    shown = str(ADMIN.describe_configs([topic], config_filter="all"))
    expect("1048576" in shown, "retention.bytes was not changed")
    refused(
        "InvalidConfig",
        lambda: ADMIN.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs={"segment.bytes": "-3"})]),
    )
    broker = ConfigResource(ConfigResourceType.BROKER, "0")
    shown = str(ADMIN.describe_configs([broker], config_filter="all"))
    expect("num.partitions" in shown, shown[:200])


def records_are_deleted():
    name = unique("admin-records")
    ADMIN.create_topics([NewTopic(name, 1, 1)])
    producer = KafkaProducer(bootstrap_servers=BROKER)
    for number in range(10):
        producer.send(name, str(number).encode(), partition=0)
    producer.flush()
    producer.close()
    at = TopicPartition(name, 0)
    ADMIN.delete_records({at: 4})
    consumer = KafkaConsumer(bootstrap_servers=BROKER)
    expect(consumer.beginning_offsets([at])[at] == 4, "the log begins at 4")
    expect(consumer.end_offsets([at])[at] == 10, "the end stays")
    consumer.close()


def cluster():
    described = ADMIN.describe_cluster()
    expect("lantern" in str(described), str(described))
    expect("127.0.0.1" in str(described), f"an IPv4 address is advertised: {described}")


def lanterns_own_topics_are_safe():
    refused("Authorization", lambda: ADMIN.delete_topics(["lantern.groups"]))
    refused("InvalidTopic", lambda: ADMIN.create_topics([NewTopic("lantern.mine", 1, 1)]))


run([topics, partitions, configuration, records_are_deleted, cluster, lanterns_own_topics_are_safe])
