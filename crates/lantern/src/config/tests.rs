//! Files, flags and what is refused.

use super::*;

fn load(yaml: &str, flags: UpFlags) -> Result<(Config, BTreeMap<String, String>)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("test.yaml");
    std::fs::write(&path, yaml)?;
    Config::load(&UpFlags {
        config: Some(path),
        ..flags
    })
}

#[test]
fn groups_are_coordinated_as_the_file_says() {
    let yaml = "groups:\n  consumer_session_timeout: 10s\n  offsets_retention: 14d\n";
    let options = load(yaml, UpFlags::default()).unwrap().0.groups.options();
    assert_eq!(options.consumer_session_timeout, Duration::from_secs(10));
    assert_eq!(options.offsets_retention, Duration::from_hours(14 * 24));
    assert_eq!(options.consumer_heartbeat_interval, Duration::from_secs(5));
    let error = load(&yaml.replace("10s", "4s"), UpFlags::default()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("groups: consumer_heartbeat_interval is 5s"),
        "{said}"
    );
}

#[test]
fn rings_and_transactions_are_bounded_as_the_file_says() {
    let yaml = "ring_memory: {process: 16MiB, partition: 1MiB, slots: 256}\n\
                transactions: {timeout_max: 1h}\n";
    let (config, _) = load(yaml, UpFlags::default()).unwrap();
    let ring = config.ring_memory;
    assert_eq!((ring.process, ring.slots), (ByteSize::from_mib(16), 256));
    assert_eq!(ring.partition, ByteSize::from_mib(1));
    let limits = config.transactions.options();
    assert_eq!(limits.timeout_max, Duration::from_hours(1));
    assert_eq!(limits.id_expiry, Duration::from_hours(7 * 24));
    let (config, _) = load("", UpFlags::default()).unwrap();
    let options = broker::Options::new(
        "unused",
        std::sync::Arc::new(env::RealDisk),
        std::sync::Arc::new(env::RealClock::new()),
        std::sync::Arc::new(env::RealEntropy),
    );
    let bounded = config.ring_memory.bounds(options.clone());
    let sizes = |options: &broker::Options| {
        let slots = (options.ring_slots, options.ring_slots_max);
        (slots, options.ring_bytes, options.rings_bytes)
    };
    assert_eq!(sizes(&bounded), sizes(&options), "the defaults are one");
}

#[test]
fn new_topics_are_made_as_the_file_says() {
    let yaml = "node_id: 3\ntopics:\n  auto_create: false\n";
    let options = load(yaml, UpFlags::default()).unwrap().0.kafka_edge();
    assert_eq!((options.node_id, options.auto_create_topics), (3, false));
    assert_eq!(options.partitions_default, 4);
    let error = load("topics:\n  partitions: 0\n", UpFlags::default()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("partitions_default is 0"), "{said}");
}

#[test]
fn clients_are_told_to_come_where_the_file_says() {
    let told = |said: &str| {
        let yaml = format!("kafka_advertised: '{said}'\n");
        let (config, _) = load(&yaml, UpFlags::default()).map_err(|error| error.to_string())?;
        let advertised = config.kafka_edge().advertised.unwrap();
        Ok::<_, String>((advertised.host, advertised.port))
    };
    for (said, host, port) in [
        ("lantern.example.org:9094", "lantern.example.org", 9094),
        ("localhost", "localhost", 0),
        ("[::1]:9092", "::1", 9092),
        ("[fe80::1]", "fe80::1", 0),
    ] {
        assert_eq!(told(said), Ok((host.to_owned(), port)), "{said}");
    }
    for said in [
        "",
        ":9092",
        "host:port",
        "host:99999",
        "::1",
        "PLAINTEXT://host:1",
    ] {
        let error = told(said).unwrap_err();
        assert!(error.contains("kafka_advertised"), "{said}: {error}");
    }
    let (config, _) = load("", UpFlags::default()).unwrap();
    assert_eq!(config.kafka_edge().advertised, None);
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let flags = UpFlags {
        http: Some("127.0.0.1:1".parse().unwrap()),
        alert_webhook: vec!["http://b/".into()],
        ..UpFlags::default()
    };
    let yaml = "http: 127.0.0.1:2\nkafka: 127.0.0.1:3\nalerting:\n  webhooks: [http://a/]\n";
    let (config, origins) = load(yaml, flags).unwrap();
    assert_eq!(config.http.port(), 1);
    assert_eq!(config.kafka.port(), 3);
    assert_eq!(config.data_dir, Path::new("lantern-data"));
    assert_eq!(config.alerting.webhooks, ["http://a/", "http://b/"]);
    assert_eq!(origins["http"], "127.0.0.1:1 (flags)");
    assert!(
        origins["kafka"].ends_with("test.yaml)"),
        "{}",
        origins["kafka"]
    );
    assert_eq!(origins["agent"], "true (default)");
    assert!(origins["alerting"].contains("http://a"));
}

#[test]
fn sizes_may_be_numbers() {
    for (yaml, bytes) in [("journal_size: 0", 0), ("journal_size: 64KiB", 65_536)] {
        let (config, _) = load(yaml, UpFlags::default()).unwrap();
        assert_eq!(config.journal_size.bytes(), bytes, "{yaml}");
    }
    let (config, _) = load("page_cache_size: 1GiB", UpFlags::default()).unwrap();
    assert_eq!(config.page_cache_size.bytes(), 1 << 30);
}

#[test]
fn quotas_are_read_by_client_and_topic() {
    let yaml = "quotas:\n  default: {request_percentage: 50}\n  clients:\n    \
                my.loader: {producer_byte_rate: 2MB}\n    \
                other: {consumer_byte_rate: 1MiB}\n  \
                topics:\n    orders: {producer_byte_rate: 20MB}\n\
                append_limit: {enabled: false, latency: 20ms}\n";
    let (config, _) = load(yaml, UpFlags::default()).unwrap();
    let Config {
        quotas,
        append_limit,
        ..
    } = config;
    assert_eq!(quotas.default.request_percentage, Some(50.0));
    let loader = quotas.clients["my.loader"].producer_byte_rate;
    assert_eq!(loader.unwrap().bytes(), 2_000_000);
    assert_eq!(quotas.topics.len(), 1);
    assert!(!append_limit.enabled);
    assert_eq!(
        append_limit.max,
        ByteSize::from_mib(64),
        "the others keep their defaults"
    );
}

#[test]
fn a_wrong_file_is_refused_by_name() {
    for (yaml, part) in [
        ("htp: 127.0.0.1:1", "htp"),
        ("http: somewhere", "line 1"),
        ("series_retention: 1m", "at least 5m"),
        ("journal_size: 1KiB", "0, for none, or 4KiB to 256MiB"),
        ("journal_size: much", "journal_size"),
        ("preallocate_size: 65MiB", "at most 64MiB"),
        ("retention_interval: 1ms", "at least 10ms"),
        ("quotas:\n  default: {producer_rate: 1MB}", "producer_rate"),
        (
            "quotas:\n  topics:\n    orders: {producer_byte_rate: 0}",
            "quotas.topics.orders.producer_byte_rate is 0",
        ),
        ("append_limit: {min: 1GiB}", "append_limit.min is 1GiB"),
        (
            "listener_memory: {listener: 4KiB}",
            "listener_memory.listener is 4KiB: it needs at least 1MiB",
        ),
        (
            "alerting:\n  webhooks: ['ftp://x']",
            "webhook number 1 is not",
        ),
        (
            "ring_memory: {partition: 65MiB}",
            "ring_memory.partition is 65MiB: it cannot be more than ring_memory.process",
        ),
        (
            "ring_memory: {slots: 8}",
            "ring_memory.slots is 8: it must be 64 to",
        ),
        (
            "transactions: {timeout_max: 25d}",
            "transactions: timeout_max is 2160000s, it must be 1 second to 24 days",
        ),
        ("transactions: {id_expiry: 1s}", "id_expiry is 1s"),
        (
            "groups: {offsets_retention: 1s}",
            "offsets_retention is 1s, it must be 1 minute to 10 years",
        ),
    ] {
        let error = format!("{:#}", load(yaml, UpFlags::default()).unwrap_err());
        assert!(error.contains(part), "{yaml}: {error}");
    }
}

#[test]
fn what_is_in_force_is_shown_without_secrets() {
    let yaml = "alerting:\n  webhooks: ['https://me:word@chat.example/hooks/token']\ntracing: {endpoint: 'http://me:word@spans.example:4318/token'}\n";
    let (config, origins) = load(yaml, UpFlags::default()).unwrap();
    let shown = format!("{origins:?}");
    for secret in ["token", "word", "me:"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("https://chat.example") && shown.contains("http://spans.example:4318"));
    assert!(config.alerting.webhooks[0].ends_with("/hooks/token"));
}
