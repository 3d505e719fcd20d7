//! The longer test suites of foreign clients, librdkafka's, franz-go's and kafka-go's: `cargo xtask nightly` runs them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::root;
use e2e::suites::{List, Outcomes, Server, folder, judge, outcomes, run};

/// Those of librdkafka's tests that emulate a bad network.
const EMULATED: &str = "0049,0068,0075,0088,0094";

#[test]
fn librdkafka() -> Result<()> {
    let server = Server::start("")?;
    let list = List::read("librdkafka")?;
    let folder = folder("librdkafka")?.join("tests");
    let config = format!(
        "bootstrap.servers={}\ntest.topic.random=true\n",
        server.address()
    );
    fs::write(folder.join("test.conf"), config)?;
    let skipped: Vec<&str> = list.skipped().filter_map(|name| name.get(..4)).collect();
    let (skipped, lantern) = (skipped.join(","), std::path::absolute(e2e::binary())?);
    let kafka = std::path::absolute(root().join("tests/e2e/suites/librdkafka"))?;
    let variables = [
        ("LD_LIBRARY_PATH", "../src:../src-cpp"),
        ("TEST_KAFKA_VERSION", "4.0.0"),
        ("TESTS_SKIP", &skipped),
        ("KAFKA_PATH", kafka.to_str().context("a path in UTF-8")?),
        ("BROKERS", server.address()),
        ("LANTERN", lantern.to_str().context("a path in UTF-8")?),
    ];
    // Without those that need no server, in their short form, four at a time; but those that emulate a bad
    // network one by one: they play with numbers of sockets, which all tests of the process share.
    let mut printed = String::new();
    for (tests, how) in [("", ["-E", "-p4"]), (EMULATED, ["-L", "-p1"])] {
        let mut variables = variables.to_vec();
        if !tests.is_empty() {
            variables.push(("TESTS", tests));
        }
        let args: Vec<String> = ["-L", "-Q"]
            .into_iter()
            .chain(how)
            .map(str::to_owned)
            .collect();
        let said = run(&folder, &variables, Path::new("./test-runner"), &args)?;
        ensure!(
            said.contains("ALL-TESTS: duration"),
            "it did not end by itself:\n{said}"
        );
        printed += &said;
    }
    judge(
        "librdkafka",
        &outcomes_of_librdkafka(&printed),
        84,
        &printed,
    )
}

fn outcomes_of_librdkafka(printed: &str) -> Outcomes {
    let mut all = Outcomes::new();
    for line in printed.lines() {
        if let Some((_, rest)) = line.split_once("= Test ")
            && let Some((name, _)) = rest.split_once(" PASSED =")
        {
            all.entry(name.to_owned()).or_insert(true);
        }
        // The name is followed by the part of the test, if it has parts.
        if let Some((_, rest)) = line.split_once("### Test \"")
            && rest.contains("\" failed at ")
            && let Some(name) = rest.split([' ', '"']).next()
        {
            all.insert(name.to_owned(), false);
        }
    }
    // Not a test: it fails for the threads that one which failed left behind.
    all.remove("<MAIN>");
    all
}

#[test]
fn franz_go() -> Result<()> {
    let server = Server::start("")?;
    let list = List::read("franz-go")?;
    let folder = folder("franz-go")?;
    let skipped: Vec<&str> = list.skipped().collect();
    let args = [
        "-test.v".to_owned(),
        "-test.timeout=9m".to_owned(),
        format!("-test.skip=^({})$", skipped.join("|")),
    ];
    let variables = [
        ("KGO_SEEDS", server.address()),
        ("KGO_TEST_RF", "1"),
        // Of the half million that is its default; each goes through a dozen topics.
        ("KGO_TEST_RECORDS", "20000"),
        ("KGO_LOG_LEVEL", "none"),
    ];
    let program = folder.join("kgo.test");
    let printed = run(&folder.join("pkg/kgo"), &variables, &program, &args)?;
    let all = outcomes(&printed, ("--- PASS: ", "--- FAIL: "), |rest| {
        rest.split(' ').next()
    });
    judge("franz-go", &all, 142, &printed)
}

/// Its tests name `localhost:9092` and node 1.
#[test]
fn kafka_go() -> Result<()> {
    let config = "kafka_advertised: localhost\nnode_id: 1\ntopics: {partitions: 1}\n";
    let server = Server::start_at("127.0.0.1:9092", config)
        .context("kafka-go's tests want localhost:9092 for themselves")?;
    ensure!(server.address().ends_with(":9092"), "{server:?}");
    let list = List::read("kafka-go")?;
    let folder = folder("kafka-go")?;
    // Parts of tests are named behind a slash.
    let whole = |name: &str| format!("^{}$", name.replace('/', "$/^"));
    let skipped: Vec<String> = list.skipped().map(whole).collect();
    let args = [
        "-test.v".to_owned(),
        "-test.timeout=9m".to_owned(),
        format!("-test.skip={}", skipped.join("|")),
    ];
    // Newer ones it does not know; without the tests of Go's own net package, as its authors run it.
    let variables = [("KAFKA_VERSION", "3.7.0"), ("KAFKA_SKIP_NETTEST", "1")];
    let printed = run(&folder, &variables, &folder.join("kafka.test"), &args)?;
    let all = outcomes(&printed, ("--- PASS: ", "--- FAIL: "), |rest| {
        rest.split(' ').next()
    });
    judge("kafka-go", &all, 144, &printed)
}
