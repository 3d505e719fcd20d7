//! Fetches the test suites of foreign clients from the package registries, by pinned versions and
//! checksums, and builds them under `target/suites`. `tests/e2e/suites/README.md` says what each is.
//!
//! Nothing fetched is committed. What has to differ from the original for a server of one node is an
//! [`Edit`] below, with its reason; an edit that no longer fits its file is an error.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run;

/// The versions of kafka-python whose tests run; each has a file of its checksum.
const KAFKA_PYTHON: [&str; 2] = ["3.0.12", "2.3.0"];

/// A change to a fetched file.
#[derive(Debug)]
enum Edit {
    /// Takes out the lines that hold this text; there must be some.
    Drop(&'static str, &'static str),
    /// Replaces a text wherever it stands; it must stand somewhere.
    Replace(&'static str, &'static str, &'static str),
}

const RDKAFKA_EDITS: &[Edit] = &[
    // Names the server and its port instead of the variable that the other tests read.
    Edit::Replace(
        "tests/test_high_producers.rs",
        r#"("bootstrap.servers", "localhost")"#,
        r#"("bootstrap.servers", &get_bootstrap_server())"#,
    ),
    Edit::Replace(
        "tests/test_metadata.rs",
        "port(), 9092",
        "port().to_string(), get_bootstrap_server().rsplit(':').next().unwrap()",
    ),
];

const LIBRDKAFKA_EDITS: &[Edit] = &[
    // Asks for three replicas.
    Edit::Replace("tests/0103-transactions.c", ", 3, 5000);", ", 1, 5000);"),
    // One test of many parts, which stops at the first that fails: without access lists, stored
    // passwords, brokers and groups that are configured over the protocol.
    Edit::Drop("tests/0081-admin.c", "do_test_CreateAcls(rk, "),
    Edit::Drop("tests/0081-admin.c", "do_test_DescribeAcls(rk, "),
    Edit::Drop("tests/0081-admin.c", "do_test_DeleteAcls(rk, "),
    Edit::Drop("tests/0081-admin.c", "do_test_UserScramCredentials(\""),
    Edit::Drop("tests/0081-admin.c", "do_test_AlterConfigs(rk, "),
    Edit::Drop("tests/0081-admin.c", "do_test_IncrementalAlterConfigs(rk, "),
    Edit::Drop("tests/0081-admin.c", "do_test_DescribeConfigs_groups(rk, "),
];

const KAFKA_GO_EDITS: &[Edit] = &[
    // Calls what it never set, which ends the whole run.
    Edit::Replace(
        "reader_test.go",
        "\t\t\tDialer:  config.Dialer,\n\t\t},\n\t}\n\n\tconn, err := cg.coordinator()",
        "\t\t\tDialer:  config.Dialer,\n\t\t\tconnect: makeConnect(ConsumerGroupConfig{Timeout: time.Minute}),\n\
         \t\t},\n\t}\n\n\tconn, err := cg.coordinator()",
    ),
    // Kafka 4 takes no segment below a mebibyte, Lantern none below a kibibyte.
    Edit::Replace(
        "reader_test.go",
        r#"ConfigValue: "200","#,
        r#"ConfigValue: "1024","#,
    ),
];

/// The suites that run in every check, fetched and built unless they are there already.
pub(crate) fn usual() -> Result<()> {
    for version in KAFKA_PYTHON {
        kafka_python(version)?;
    }
    rdkafka()
}

/// The suites that run nightly, likewise.
pub(crate) fn nightly() -> Result<()> {
    rdkafka()?;
    librdkafka()?;
    go_module(
        "franz-go",
        ("github.com/twmb/franz-go", "./pkg/kgo"),
        ("kgo.test", &[]),
    )?;
    go_module(
        "kafka-go",
        ("github.com/segmentio/kafka-go", "."),
        ("kafka.test", KAFKA_GO_EDITS),
    )
}

fn pins() -> PathBuf {
    run::root().join("tests/e2e/suites")
}

/// Where a suite is built.
fn folder(name: &str) -> PathBuf {
    run::root().join("target/suites").join(name)
}

/// Makes the suite `name` anew with `make` unless it was made of the same `recipe`.
fn unless_made(name: &str, recipe: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = folder(name);
    let stamp = folder.join("made-of.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    println!("fetching and building the tests of {name} (once)");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    make(&folder).with_context(|| format!("the tests of {name}"))?;
    fs::write(stamp, recipe).context("target/suites")
}

/// The source package, which has the tests but not what they start servers with.
fn kafka_python(version: &str) -> Result<()> {
    let pin = pins().join(format!("kafka-python/{version}.txt"));
    let service = pins().join("kafka-python/service.py");
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| {
            path.strip_prefix(run::root())
                .unwrap_or(path)
                .display()
                .to_string()
        })
    };
    let recipe = read(&pin)? + &read(&service)?;
    unless_made(&format!("kafka-python-{version}"), &recipe, |folder| {
        run::check(
            run::command("tests/e2e/.venv/bin/pip")
                .args(["download", "-q", "--disable-pip-version-check", "--no-deps"])
                .args(["--no-binary", "kafka-python", "--require-hashes", "-r"])
                .arg(&pin)
                .arg("-d")
                .arg(folder),
        )?;
        run::check(run::command("tar").current_dir(folder).args([
            "-xzf",
            &format!("kafka_python-{version}.tar.gz"),
            "--strip-components=1",
        ]))?;
        fs::write(folder.join("test/__init__.py"), "")?;
        fs::copy(&service, folder.join("test/service.py"))?;
        Ok(())
    })
}

/// rust-rdkafka; it builds librdkafka, whose sources and tests are inside of it.
fn rdkafka() -> Result<()> {
    let manifest = pins().join("rdkafka/Cargo.toml");
    let manifest = manifest.to_string_lossy();
    let lock = fs::read_to_string(pins().join("rdkafka/Cargo.lock"))
        .context("tests/e2e/suites/rdkafka/Cargo.lock")?;
    unless_made("rdkafka", &format!("{lock}{RDKAFKA_EDITS:?}"), |folder| {
        let text = run::output(&mut run::cargo(&[
            "metadata",
            "--locked",
            "--format-version=1",
            "--manifest-path",
            &manifest,
        ]))?;
        copy(&source_of("rdkafka", &text)?, folder)?;
        edit(folder, RDKAFKA_EDITS)?;
        // It lies inside of our workspace and is not of it.
        let manifest = folder.join("Cargo.toml");
        fs::write(
            &manifest,
            fs::read_to_string(&manifest)? + "\n[workspace]\n",
        )?;
        let text = run::output(
            run::cargo(&[
                "test",
                "--no-run",
                "--quiet",
                "--locked",
                "--message-format=json",
                "--manifest-path",
            ])
            .arg(&manifest)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_TEST_DEBUG", "0"),
        )?;
        let built = Built::read(&text)?;
        fs::write(folder.join("programs.txt"), built.programs)?;
        fs::write(folder.join("librdkafka.txt"), built.librdkafka)?;
        Ok(())
    })
}

/// The C library that rust-rdkafka brought, with the program that runs its tests.
fn librdkafka() -> Result<()> {
    let lock = fs::read_to_string(pins().join("rdkafka/Cargo.lock"))
        .context("tests/e2e/suites/rdkafka/Cargo.lock")?;
    unless_made(
        "librdkafka",
        &format!("{lock}{LIBRDKAFKA_EDITS:?}"),
        |made| {
            let built = fs::read_to_string(folder("rdkafka").join("librdkafka.txt"))?;
            copy(Path::new(&built), made)?;
            edit(made, LIBRDKAFKA_EDITS)?;
            for (part, goal) in [("src-cpp", "all"), ("tests", "test-runner")] {
                let make = run::command("make")
                    .current_dir(made.join(part))
                    .args(["--silent", "-j2", goal])
                    .output()
                    .context("make")?;
                ensure!(
                    make.status.success(),
                    "make {part}: {}",
                    String::from_utf8_lossy(&make.stderr)
                );
            }
            Ok(())
        },
    )
}

/// The tests of a package that come with its module, built as `program`; Go checks the module against `go.sum`.
fn go_module(
    name: &str,
    (module, package): (&str, &str),
    (program, edits): (&str, &[Edit]),
) -> Result<()> {
    let pin = pins().join(name);
    let sums = fs::read_to_string(pin.join("go.sum"));
    let sums = sums.with_context(|| format!("tests/e2e/suites/{name}/go.sum"))?;
    let recipe = format!("{sums}{edits:?}");
    unless_made(name, &recipe, |folder| {
        let go = go()?;
        let said = run::output(
            run::command(&go)
                .current_dir(&pin)
                .args(["mod", "download", "-json", module]),
        )?;
        let said: Value = serde_json::from_str(&said).context("what go mod download says")?;
        let source = said["Dir"]
            .as_str()
            .context("go mod download names no folder")?;
        copy(Path::new(source), folder)?;
        edit(folder, edits)?;
        let build = ["test", "-mod=mod", "-c", "-o", program, package];
        run::check(run::command(&go).current_dir(folder).args(build))
    })
}

fn go() -> Result<String> {
    let usual = "/usr/local/go/bin/go";
    if run::has("go") {
        return Ok("go".to_owned());
    }
    if Path::new(usual).is_file() {
        return Ok(usual.to_owned());
    }
    bail!("the tests of Go clients need Go 1.26 or later: install it and try again")
}

/// What cargo says that it built.
struct Built {
    /// A line for each test program: its name, a space, its path.
    programs: String,
    /// The folder in which librdkafka was built.
    librdkafka: String,
}

impl Built {
    fn read(text: &str) -> Result<Self> {
        let mut built = Self {
            programs: String::new(),
            librdkafka: String::new(),
        };
        for line in text.lines() {
            let said: Value = serde_json::from_str(line).context("what cargo says")?;
            let package = said["package_id"].as_str().unwrap_or_default();
            if let (Some(path), Some(name)) =
                (said["executable"].as_str(), said["target"]["name"].as_str())
                && name.starts_with("test_")
            {
                built.programs.extend([name, " ", path, "\n"]);
            }
            if let Some(folder) = said["out_dir"].as_str()
                && package.contains("rdkafka-sys")
            {
                folder.clone_into(&mut built.librdkafka);
            }
        }
        ensure!(
            !built.programs.is_empty() && !built.librdkafka.is_empty(),
            "cargo names no test programs, or no folder of librdkafka"
        );
        Ok(built)
    }
}

/// Where the sources of a package are, by what `cargo metadata` says.
fn source_of(name: &str, metadata: &str) -> Result<PathBuf> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == name);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.with_context(|| format!("cargo metadata has no {name}"))?;
    Ok(Path::new(manifest)
        .parent()
        .context("a manifest is in a folder")?
        .to_owned())
}

/// Copies what is in a folder, writable, with its times, so that make builds nothing twice.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run::check(
        run::command("cp")
            .args(["-R", "--preserve=timestamps,links"])
            .arg(from.join("."))
            .arg(to),
    )?;
    run::check(run::command("chmod").args(["-R", "u+w"]).arg(to))
}

fn edit(folder: &Path, edits: &[Edit]) -> Result<()> {
    for edit in edits {
        let (Edit::Drop(file, text) | Edit::Replace(file, text, _)) = edit;
        let path = folder.join(file);
        let old = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(old.contains(text), "{file} has no '{text}' to be changed");
        let new = match edit {
            Edit::Replace(_, from, to) => old.replace(from, to),
            Edit::Drop(_, text) => old
                .lines()
                .filter(|line| !line.contains(text))
                .fold(String::new(), |all, line| all + line + "\n"),
        };
        fs::write(&path, new)?;
    }
    Ok(())
}
