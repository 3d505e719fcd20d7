//! The examples do what they say.

#[expect(dead_code, reason = "its main is for people")]
#[path = "../../examples/durable.rs"]
mod durable;
#[expect(dead_code, reason = "its main is for people")]
#[path = "../../examples/in_memory.rs"]
mod in_memory;

use test_kit::within;

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_listener_gets_an_order_from_memory_and_from_the_disk() {
    assert_eq!(within(in_memory::run()).await.unwrap(), 7);
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert_eq!(
            within(durable::run(dir.path().to_str().unwrap()))
                .await
                .unwrap(),
            7
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
