import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Kafka's Java client of any version since 2.1: Clients.java HOST:PORT [PROTOCOL].
 *
 * <p>Round trips with every compression, idempotence, transactions that commit and abort, a group of two members (under
 * `group.protocol` PROTOCOL, if the client knows it), seeking by time, and administration.
 */
public class Clients {
    private static final int RECORDS = 2_000;
    private static final Duration TURN = Duration.ofMillis(200);

    private final String server;
    private final String protocol;
    private int failed;

    private Clients(String server, String protocol) {
        this.server = server;
        this.protocol = protocol;
    }

    public static void main(String[] args) throws Exception {
        Clients clients = new Clients(args[0], args.length > 1 ? args[1] : null);
        String run = AppInfoParser.getVersion().replace('.', '-') + "-" + clients.protocol;
        System.out.println("kafka-clients " + AppInfoParser.getVersion() + ", protocol " + clients.protocol);
        clients.roundTrips("trip-" + run);
        clients.transactions("transactions-" + run);
        clients.group("trip-" + run, "group-" + run);
        clients.administration("admin-" + run);
        System.out.println(clients.failed == 0 ? "VERDICT PASS" : "VERDICT FAIL: " + clients.failed);
        System.exit(clients.failed == 0 ? 0 : 1);
    }

    private void roundTrips(String topic) throws Exception {
        create(topic, 3);
        long before = System.currentTimeMillis();
        Map<String, String> sent = new HashMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer("compression.type", codec, "enable.idempotence", true, "linger.ms", 5)) {
                for (int i = 0; i < RECORDS; i += 1) {
                    ProducerRecord<String, String> record = new ProducerRecord<>(topic, codec + i, codec + " " + i);
                    record.headers().add("codec", codec.getBytes());
                    producer.send(record);
                    sent.put(codec + i, codec + " " + i);
                }
            }
        }
        Map<String, String> read = new HashMap<>();
        boolean headers = true;
        try (KafkaConsumer<String, String> consumer = consumer()) {
            List<TopicPartition> all = assign(consumer, topic);
            for (ConsumerRecord<String, String> record : drain(consumer)) {
                read.put(record.key(), record.value());
                Header codec = record.headers().lastHeader("codec");
                headers &= codec != null && record.value().startsWith(new String(codec.value()));
            }
            check("every record of five codecs is read as it was sent", read.equals(sent) && headers);
            Map<TopicPartition, Long> times = new HashMap<>();
            for (TopicPartition partition : all) times.put(partition, before);
            boolean first = true;
            for (OffsetAndTimestamp found : consumer.offsetsForTimes(times).values()) first &= found != null && found.offset() == 0;
            check("the first record after a time is the first one", first);
            consumer.seek(all.get(1), 7);
            check("a seek goes where it should", consumer.position(all.get(1)) == 7);
        }
    }

    private void transactions(String topic) throws Exception {
        create(topic, 2);
        try (KafkaProducer<String, String> producer = producer("transactional.id", topic)) {
            producer.initTransactions();
            for (int i = 0; i < 20; i += 1) {
                producer.beginTransaction();
                for (int n = 0; n < 10; n += 1) producer.send(new ProducerRecord<>(topic, n % 2, "k", i % 2 == 0 ? "committed" : "aborted"));
                producer.flush();
                if (i % 2 == 0) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
        Map<String, Integer> seen = new TreeMap<>();
        try (KafkaConsumer<String, String> consumer = consumer("isolation.level", "read_committed")) {
            assign(consumer, topic);
            for (ConsumerRecord<String, String> record : drain(consumer)) seen.merge(record.value(), 1, Integer::sum);
        }
        check("what was committed is read, and nothing else: " + seen, seen.equals(Map.of("committed", 100)));
    }

    private void group(String topic, String group) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of("group.id", group));
        if (protocol != null) config.put("group.protocol", protocol);
        Object[] options = config.entrySet().stream().flatMap(entry -> List.of(entry.getKey(), entry.getValue()).stream()).toArray();
        try (KafkaConsumer<String, String> one = consumer(options); KafkaConsumer<String, String> other = consumer(options);
                AdminClient admin = admin()) {
            one.subscribe(List.of(topic));
            other.subscribe(List.of(topic));
            long end = System.currentTimeMillis() + 60_000;
            // Both have some, and between them all.
            while (one.assignment().isEmpty() || other.assignment().isEmpty() || one.assignment().size() + other.assignment().size() != 3) {
                one.poll(TURN);
                other.poll(TURN);
                if (System.currentTimeMillis() > end) break;
            }
            check("two members share three partitions", one.assignment().size() + other.assignment().size() == 3 && !one.assignment().isEmpty());
            while ((behind(one) || behind(other)) && System.currentTimeMillis() < end) {
                one.poll(TURN);
                other.poll(TURN);
            }
            check("they read everything", !behind(one) && !behind(other));
            one.commitSync();
            other.commitSync();
            ConsumerGroupDescription told = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            int assigned = 0;
            for (MemberDescription member : told.members()) assigned += member.assignment().topicPartitions().size();
            check("the group is described with its members", told.members().size() == 2 && assigned == 3);
        }
        try (KafkaConsumer<String, String> next = consumer(options)) {
            next.subscribe(List.of(topic));
            int again = 0;
            long end = System.currentTimeMillis() + 60_000;
            while (next.assignment().size() < 3 && System.currentTimeMillis() < end) again += next.poll(TURN).count();
            again += next.poll(Duration.ofSeconds(1)).count();
            check("the next member goes on where they committed", again == 0);
        }
    }

    private void administration(String topic) throws Exception {
        try (AdminClient admin = admin()) {
            NewTopic wanted = new NewTopic(topic, 1, (short) 1).configs(Map.of("retention.ms", "123456"));
            admin.createTopics(List.of(wanted)).all().get();
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            // The name of this answer changed in 3.1, and the old one is gone in 4.0.
            Object described = admin.describeTopics(List.of(topic));
            Object future;
            try {
                future = described.getClass().getMethod("allTopicNames").invoke(described);
            } catch (NoSuchMethodException old) {
                future = described.getClass().getMethod("all").invoke(described);
            }
            Map<?, ?> topics = (Map<?, ?>) ((org.apache.kafka.common.KafkaFuture<?>) future).get();
            TopicDescription told = (TopicDescription) topics.get(topic);
            check("a topic is described with its partitions", told.partitions().size() == 3 && told.partitions().get(2).isr().size() == 1);
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            String retention = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value();
            check("its configuration is told", retention.equals("123456"));
            check("the cluster is told", admin.describeCluster().nodes().get().size() == 1);
            admin.deleteTopics(Collections.singleton(topic)).all().get();
            check("a deleted topic is gone", !admin.listTopics().names().get().contains(topic));
        }
    }

    private void create(String topic, int partitions) throws Exception {
        try (AdminClient admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
    }

    private AdminClient admin() {
        return AdminClient.create(with("client.id", "admin"));
    }

    private KafkaProducer<String, String> producer(Object... options) {
        return new KafkaProducer<>(with(options), new StringSerializer(), new StringSerializer());
    }

    private KafkaConsumer<String, String> consumer(Object... options) {
        Map<String, Object> config = with(options);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private Map<String, Object> with(Object... options) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", server));
        for (int i = 0; i < options.length; i += 2) config.put((String) options[i], options[i + 1]);
        return config;
    }

    private static List<TopicPartition> assign(KafkaConsumer<?, ?> consumer, String topic) {
        List<TopicPartition> all = new ArrayList<>();
        consumer.partitionsFor(topic).forEach(partition -> all.add(new TopicPartition(topic, partition.partition())));
        consumer.assign(all);
        consumer.seekToBeginning(all);
        return all;
    }

    private static boolean behind(KafkaConsumer<?, ?> consumer) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
        return ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue());
    }

    /** Everything up to the ends. */
    private static List<ConsumerRecord<String, String>> drain(KafkaConsumer<String, String> consumer) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        long end = System.currentTimeMillis() + 60_000;
        while (behind(consumer) && System.currentTimeMillis() < end) {
            consumer.poll(TURN).forEach(records::add);
        }
        return records;
    }

    private void check(String what, boolean held) {
        System.out.println((held ? "ok   " : "FAIL ") + what);
        if (!held) failed += 1;
    }
}
