//! The examples do what they say.

#[expect(dead_code, reason = "its main is for people")]
#[path = "../../examples/durable.rs"]
mod durable;
#[expect(dead_code, reason = "its main is for people")]
#[path = "../../examples/in_memory.rs"]
mod in_memory;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_comes_back_from_memory_and_stays_on_the_disk() {
    assert_eq!(in_memory::run().await.unwrap(), "paid");
    let dir = tempfile::tempdir().unwrap();
    for times in 1..=2 {
        assert_eq!(
            durable::run(dir.path().to_str().unwrap()).await.unwrap(),
            times
        );
    }
}

#[test]
fn an_example_fits_a_glance() {
    for source in [
        include_str!("../../examples/in_memory.rs"),
        include_str!("../../examples/durable.rs"),
    ] {
        let lines = test_kit::lines_of_code(source);
        assert!(lines <= 30, "{lines} lines:\n{source}");
    }
}
