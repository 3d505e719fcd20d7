import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Kafka Streams, exactly once (exactly_once_v2), in four roles:
 *
 * <pre>
 *   Streams.java HOST:PORT make             topics, and a compacted one of customers with their regions
 *   Streams.java HOST:PORT feed TOTAL       orders of 50 customers; says "sent N" every 5,000
 *   Streams.java HOST:PORT app FOLDER       sums by customer, a join with the customers, counts by window; says "running"
 *   Streams.java HOST:PORT check TOTAL      every sum is right and every order is joined once
 * </pre>
 *
 * <p>Sums, join and windows repartition their input through internal topics, whose read records Streams deletes, and keep
 * their state in compacted changelogs, from which an instance with an empty folder restores it.
 */
public class Streams {
    private static final int CUSTOMERS = 50;
    private static final int EVERY = 5_000;
    private static final long PATIENCE_MS = 120_000;

    public static void main(String[] args) throws Exception {
        String server = args[0];
        switch (args[1]) {
            case "make" -> make(server);
            case "feed" -> feed(server, Long.parseLong(args[2]));
            case "app" -> app(server, args[2]);
            default -> check(server, Long.parseLong(args[2]));
        }
    }

    private static void make(String server) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", server))) {
            List<NewTopic> topics = new ArrayList<>();
            for (String name : List.of("orders", "sums", "joined", "windows")) topics.add(new NewTopic(name, 3, (short) 1));
            topics.add(new NewTopic("customers", 3, (short) 1).configs(Map.of("cleanup.policy", "compact")));
            admin.createTopics(topics).all().get();
        }
        try (KafkaProducer<String, String> producer = producer(server)) {
            for (int i = 0; i < CUSTOMERS; i += 1) producer.send(new ProducerRecord<>("customers", "c" + i, "region" + i % 5));
        }
    }

    private static void feed(String server, long total) throws Exception {
        try (KafkaProducer<String, String> producer = producer(server)) {
            for (long i = 0; i < total; i += 1) {
                producer.send(new ProducerRecord<>("orders", "o" + i, "c" + i % CUSTOMERS + "," + i));
                if (i % 100 == 0) Thread.sleep(10);
                if (i % EVERY == EVERY - 1) {
                    producer.flush();
                    System.out.println("sent " + (i + 1));
                }
            }
        }
        System.out.println("done");
    }

    private static KafkaProducer<String, String> producer(String server) {
        Map<String, Object> config = Map.of("bootstrap.servers", server, "compression.type", "zstd", "reconnect.backoff.max.ms", 200);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    private static void app(String server, String folder) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "shop");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, server);
        config.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        // An instance that is killed is missed sooner than after 45 s.
        config.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6_000);
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, String> customers = builder.table("customers");
        KStream<String, Long> amounts = builder.<String, String>stream("orders").map((order, value) -> {
            String[] parts = value.split(",");
            return KeyValue.pair(parts[0], Long.parseLong(parts[1]));
        });
        Grouped<String, Long> grouped = Grouped.with(Serdes.String(), Serdes.Long());
        amounts.groupByKey(grouped).reduce(Long::sum, Materialized.as("sum")).toStream().to("sums", Produced.with(Serdes.String(), Serdes.Long()));
        amounts.repartition(Repartitioned.<String, Long>as("by-customer").withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .join(customers, (amount, region) -> region + ":" + amount).to("joined");
        amounts.groupByKey(grouped).windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(5))).count().toStream()
            .map((window, count) -> KeyValue.pair(window.key(), window.window().start() + "=" + count)).to("windows");
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((now, before) -> System.out.println(now.name().toLowerCase()));
        streams.start();
    }

    private static void check(String server, long total) {
        Map<String, Long> wanted = new TreeMap<>();
        for (long i = 0; i < total; i += 1) wanted.merge("c" + i % CUSTOMERS, i, Long::sum);
        Map<String, Long> sums = new TreeMap<>();
        Set<String> distinct = new HashSet<>();
        long joined = 0;
        Map<String, Object> config = Map.of("bootstrap.servers", server, "isolation.level", "read_committed", "auto.offset.reset", "earliest",
            "group.id", "check", "group.protocol", "consumer");
        long now = System.currentTimeMillis();
        // What comes after all is there would be there twice.
        long last = now;
        long end = now + PATIENCE_MS;
        try (KafkaConsumer<String, byte[]> consumer = new KafkaConsumer<>(config, new StringDeserializer(), new ByteArrayDeserializer());
                LongDeserializer number = new LongDeserializer()) {
            consumer.subscribe(List.of("sums", "joined"));
            while (now < end && !(sums.equals(wanted) && joined >= total && now - last > 2_000)) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    last = now;
                    if (record.topic().equals("sums")) {
                        sums.put(record.key(), number.deserialize(record.topic(), record.value()));
                    } else {
                        joined += 1;
                        distinct.add(record.key() + " " + new String(record.value()));
                    }
                }
                now = System.currentTimeMillis();
            }
        }
        boolean right = sums.equals(wanted);
        System.out.println("sums of " + sums.size() + " customers " + (right ? "right" : "wrong: " + sums + " and not " + wanted));
        System.out.println(joined + " joined, " + distinct.size() + " distinct, of " + total);
        boolean pass = right && joined == total && distinct.size() == total;
        System.out.println(pass ? "VERDICT PASS" : "VERDICT FAIL");
        System.exit(pass ? 0 : 1);
    }
}
