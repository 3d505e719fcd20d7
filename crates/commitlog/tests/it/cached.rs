//! What a log leaves in the page cache: its newest bytes; and what it gives back is on the disk.

use commitlog::{Log, Options, Publish};
use env::SimDisk;
use stdx::ByteSize;

use crate::kit::{batch, dump, now, open};

const KEPT: u64 = 4_096;

fn options() -> Options {
    Options {
        segment_bytes: ByteSize::from_bytes(3_000),
        tail_bytes: ByteSize::from_bytes(0),
        page_cache_bytes: ByteSize::from_bytes(KEPT),
        ..Options::default()
    }
}

fn append(log: &mut Log, numbers: std::ops::Range<u32>) {
    for number in numbers {
        log.append(&[batch(5, &[&number.to_string()])], now(1_000))
            .unwrap();
    }
}

#[test]
fn all_but_the_newest_bytes_are_given_back_once() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options());
    let mut most = 0;
    for number in 0..400 {
        append(&mut log, number..number + 1);
        log.flush().unwrap();
        let kept = log.reader().size_bytes() - disk.uncached().bytes;
        most = most.max(kept);
    }
    // A step more, and what closed segments had left.
    assert!((KEPT..KEPT + KEPT / 4).contains(&most), "{most}");
    assert_eq!(disk.uncached().not_flushed, 0);
    let expected: Vec<String> = (0..400)
        .map(|number| format!("{number}={number}"))
        .collect();
    assert_eq!(dump(&log.reader()), expected.join(" "));
}

#[test]
fn what_is_not_flushed_is_not_given_back() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options());
    append(&mut log, 0..400);
    // Closed segments are flushed; the newest is not.
    append(&mut log, 400..410);
    assert_eq!(disk.uncached().not_flushed, 0);
    let lazy = Options {
        publish: Publish::Written,
        segment_bytes: ByteSize::from_mib(1),
        ..options()
    };
    let disk = SimDisk::new(2);
    let (mut log, _) = open(&disk, lazy);
    append(&mut log, 0..200);
    assert_eq!(disk.uncached().bytes, 0);
    // A flush beside the writer, which goes on meanwhile.
    let unsettled = log.unsettled().unwrap().unwrap();
    let flushed = log.reader().size_bytes();
    append(&mut log, 200..400);
    let synced = unsettled.sync();
    log.settled(&unsettled, synced).unwrap();
    append(&mut log, 400..401);
    let unsettled = log.unsettled().unwrap().unwrap();
    let synced = unsettled.sync();
    log.settled(&unsettled, synced).unwrap();
    let given_back = disk.uncached();
    assert!(given_back.bytes > flushed / 2, "{given_back:?}");
    assert_eq!(given_back.not_flushed, 0);
}

#[test]
fn what_two_flushes_saw_is_given_back_once() {
    let disk = SimDisk::new(1);
    let lazy = Options {
        publish: Publish::Written,
        segment_bytes: ByteSize::from_mib(1),
        ..options()
    };
    let (mut log, _) = open(&disk, lazy);
    for round in 0..20 {
        append(&mut log, round * 20..round * 20 + 10);
        let unsettled = log.unsettled().unwrap().unwrap();
        append(&mut log, round * 20 + 10..round * 20 + 20);
        log.flush().unwrap();
        // The older flush is heard of later.
        let synced = unsettled.sync();
        log.settled(&unsettled, synced).unwrap();
    }
    let kept = log.reader().size_bytes() - disk.uncached().bytes;
    // Up to a step less, which is what is between two flushes here.
    assert!((KEPT / 2..=KEPT).contains(&kept), "{kept}");
}

#[test]
fn a_log_that_is_opened_again_gives_back_what_it_writes() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options());
    append(&mut log, 0..100);
    log.flush().unwrap();
    drop(log);
    disk.crash();
    let before = disk.uncached().bytes;
    let (mut log, _) = open(&disk, options());
    let size = log.reader().size_bytes();
    append(&mut log, 100..300);
    log.flush().unwrap();
    append(&mut log, 300..301);
    log.flush().unwrap();
    let written = log.reader().size_bytes() - size;
    let given_back = disk.uncached().bytes - before;
    assert!(
        (written - KEPT - 3_000..written).contains(&given_back),
        "{given_back} of {written}"
    );
    assert_eq!(disk.uncached().not_flushed, 0);
}
