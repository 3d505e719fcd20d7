//! Timelines: what a lane shows from second to second.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn entry(name: &str, seconds: u64, priority: u8) -> Entry {
    Entry {
        name: name.into(),
        interval: Duration::from_secs(seconds),
        priority,
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Plays `seconds` in steps of 100 ms. `script`: `"3.5 disk critical"` per line sets a level. Answers
/// `start name` for every turn.
fn play(entries: &[Entry], script: &str, seconds: i64) -> String {
    let mut playlist = Playlist::new(entries.to_vec(), at(0)).unwrap();
    play_on(&mut playlist, entries, script, 0, seconds)
}

fn play_on(p: &mut Playlist, entries: &[Entry], script: &str, from: i64, seconds: i64) -> String {
    let mut changes: Vec<(i64, usize, Level)> =
        script.lines().map(|line| change(entries, line)).collect();
    changes.sort_by_key(|change| change.0);
    let mut shown = vec![format!("{}s {}", from, entries[p.turn().item].name)];
    for now in (from * 10..=(from + seconds) * 10).map(|tenth| tenth * 100) {
        for (_, item, level) in changes.extract_if(.., |change| change.0 <= now) {
            p.set_level(item, level, at(now));
        }
        if p.tick(at(now)) {
            let name = &entries[p.turn().item].name;
            shown.push(format!("{}s {name}", now as f64 / 1000.0));
        }
    }
    shown.join(", ")
}

fn change(entries: &[Entry], line: &str) -> (i64, usize, Level) {
    let [seconds, name, level] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    let item = entries
        .iter()
        .position(|entry| &*entry.name == name)
        .unwrap();
    let level = match level {
        "critical" => Level::Critical,
        "warning" => Level::Warning,
        "healthy" => Level::Healthy,
        other => panic!("{other}"),
    };
    (millis(seconds), item, level)
}

/// `5.2` seconds are 5,200 milliseconds.
fn millis(seconds: &str) -> i64 {
    let (whole, tenths) = seconds.split_once('.').unwrap_or((seconds, "0"));
    whole.parse::<i64>().unwrap() * 1000 + tenths.parse::<i64>().unwrap() * 100
}

fn three() -> Vec<Entry> {
    vec![entry("cpu", 4, 5), entry("mem", 4, 5), entry("disk", 4, 5)]
}

#[test]
fn equals_take_turns_in_the_order_they_are_written() {
    assert_snapshot!(play(&three(), "", 25), @"0s cpu, 4s mem, 8s disk, 12s cpu, 16s mem, 20s disk, 24s cpu");
}

#[test]
fn a_critical_item_jumps_the_queue_and_stays_twice_as_long() {
    assert_snapshot!(play(&three(), "5.2 disk critical\n21 disk healthy", 40), @"0s cpu, 4s mem, 5.2s disk, 13.2s cpu, 17.2s disk, 21.2s mem, 25.2s disk, 29.2s cpu, 33.2s mem, 37.2s disk");
}

#[test]
fn what_was_just_shown_keeps_its_second() {
    assert_snapshot!(play(&three(), "4.3 cpu critical", 14), @"0s cpu, 4s mem, 5s cpu, 13s disk");
}

#[test]
fn two_critical_items_do_not_cut_each_other_short() {
    assert_snapshot!(play(&three(), "0 cpu critical\n1 disk critical\n1.5 mem critical", 30), @"0s cpu, 8s disk, 16s mem, 24s disk");
}

#[test]
fn a_critical_item_that_recovers_before_its_turn_waits_like_the_others() {
    assert_snapshot!(play(&three(), "4.1 disk critical\n4.6 disk healthy", 13), @"0s cpu, 4s mem, 8s disk, 12s cpu");
}

#[test]
fn a_warning_comes_ahead_and_more_often_without_interrupting() {
    assert_snapshot!(play(&three(), "1 disk warning", 40), @"0s cpu, 4s disk, 8s mem, 12s disk, 16s cpu, 20s disk, 24s mem, 28s disk, 32s cpu, 36s disk, 40s mem");
}

#[test]
fn priority_decides_how_often() {
    let entries = [
        entry("first", 2, 0),
        entry("middle", 2, 5),
        entry("last", 2, 9),
    ];
    assert_snapshot!(play(&entries, "", 40), @"0s first, 2s middle, 4s last, 6s first, 8s middle, 10s first, 12s middle, 14s first, 16s middle, 18s first, 20s middle, 22s first, 24s middle, 26s first, 28s last, 30s first, 32s middle, 34s first, 36s middle, 38s first, 40s middle");
}

#[test]
fn one_item_alone_stays() {
    assert_snapshot!(play(&[entry("only", 3, 5)], "4 only critical", 20), @"0s only, 3s only, 9s only, 15s only");
}

#[test]
fn a_lane_goes_on_where_it_was_after_a_restart() {
    let entries = three();
    let mut before = Playlist::new(entries.clone(), at(0)).unwrap();
    play_on(&mut before, &entries, "", 0, 5);
    let state = before.state(at(5_000));
    let text = serde_json::to_string(&state).unwrap();
    let state: PlaylistState = serde_json::from_str(&text).unwrap();
    // Down for a hour: not counted.
    let mut after = Playlist::restore(entries.clone(), &state, at(3_605_000)).unwrap();
    assert_eq!(after.turn().until, at(3_608_000));
    assert_snapshot!(play_on(&mut after, &entries, "", 3_605, 12), @"3605s mem, 3608s disk, 3612s cpu, 3616s mem");
}

#[test]
fn an_edit_keeps_the_head_or_starts_anew() {
    let before = Playlist::new(three(), at(0)).unwrap();
    let state = PlaylistState {
        item: "mem".into(),
        ..before.state(at(1_000))
    };
    let edited = vec![entry("new", 4, 5), entry("mem", 8, 5)];
    let after = Playlist::restore(edited, &state, at(1_000)).unwrap();
    assert_eq!((after.turn().item, after.turn().until), (1, at(8_000)));
    let without = Playlist::restore(vec![entry("new", 4, 5)], &state, at(1_000)).unwrap();
    assert_eq!((without.turn().item, without.turn().since), (0, at(1_000)));
}

#[test]
fn a_clock_set_back_does_not_hold_the_lane() {
    let mut playlist = Playlist::new(three(), at(3_600_000)).unwrap();
    assert!(!playlist.tick(at(1_000)));
    assert!(playlist.tick(at(5_000)));
}

#[test]
fn time_stands_still_while_nobody_watches() {
    let mut playlist = Playlist::new(three(), at(0)).unwrap();
    playlist.pause(Duration::from_secs(100));
    assert!(!playlist.tick(at(103_999)));
    assert!(playlist.tick(at(104_000)));
}

#[test]
fn no_entries_no_playlist() {
    assert!(Playlist::new(Vec::new(), at(0)).is_none());
}

fn levels() -> impl Strategy<Value = Level> {
    prop_oneof![
        Just(Level::Healthy),
        Just(Level::Warning),
        Just(Level::Critical),
        Just(Level::None)
    ]
}

proptest! {
    /// Whatever the levels do: turns have sane ends, and everything comes by within a bounded time.
    #[test]
    fn nothing_starves(
        priorities in prop::collection::vec((0_u8..=9, 1_u64..6), 1..8),
        changes in prop::collection::vec((0_i64..600, 0_usize..8, levels()), 0..60),
    ) {
        let entries: Vec<_> = priorities.iter().enumerate()
            .map(|(at, (priority, seconds))| entry(&at.to_string(), *seconds, *priority)).collect();
        let mut playlist = Playlist::new(entries.clone(), at(0)).unwrap();
        let mut seen = vec![0; entries.len()];
        // Levels move in the first ten minutes; the next twenty must show everything.
        for second in 0..1_800 {
            for (when, item, level) in &changes {
                if *when == second && *item < entries.len() {
                    playlist.set_level(*item, *level, at(second * 1000));
                }
            }
            playlist.tick(at(second * 1000));
            let turn = playlist.turn();
            prop_assert!(turn.since <= turn.until);
            prop_assert!(turn.until.since(turn.since) <= Duration::from_secs(10));
            if second >= 600 {
                seen[turn.item] += 1;
            }
        }
        prop_assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}
