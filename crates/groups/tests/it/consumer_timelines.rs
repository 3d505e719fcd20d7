//! Typical lives of a group of the second protocol as its members see them.

use std::time::Duration;

use groups::Options;
use insta::assert_snapshot;

use crate::consumer_play::{run, run_with};

#[test]
fn a_second_member_gets_what_the_first_gives_back() {
    assert_snapshot!(run("
        0 join x
        10 beat x
        100 join y
        200 beat y
        300 beat x stuck
        400 beat y
        500 beat x
        600 beat x
        700 beat y
        710 show
    "), @r"
      0 * g1: member joined
      0 * g1 is stable
      0 x: e1 [a0 a1 a2 a3]
     10 x: e1 as before
    100 * g2: member joined
    100 y: e2 []
    200 y: e2 as before
    300 x: e1 [a0 a1]
    400 y: e2 as before
    500 x: e2 as before
    600 x: e2 as before
    700 * g2 is stable
    700 y: e2 [a2 a3]
    710 group is Stable g2 [x@2:a0 a1, y@2:a2 a3]
    ");
}

#[test]
fn who_gives_nothing_back_in_time_is_removed() {
    assert_snapshot!(run("
        0 join x rebalance=10000
        100 join y
        200 beat x stuck
        5000 beat x stuck
        5000 beat y
        11000 beat y
        11000 beat x
        11100 join x
        12000 beat y
        12100 beat x
        12200 show
    "), @r"
        0 * g1: member joined
        0 * g1 is stable
        0 x: e1 [a0 a1 a2 a3]
      100 * g2: member joined
      100 y: e2 []
      200 x: e1 [a0 a1]
     5000 x: e1 as before
     5000 y: e2 as before
    10200 * x removed: revocation expired
    10200 * g3: revocation expired
    11000 * g3 is stable
    11000 y: e3 [a0 a1 a2 a3]
    11000 x: UnknownMember
    11100 * g4: member joined
    11100 x: e4 []
    12000 y: e3 [a0 a1]
    12100 x: e4 as before
    12200 group is Reconciling g4 [x@4:, y@3:a0 a1 back:a2 a3]
    ");
}

#[test]
fn nothing_said_about_partitions_is_not_an_empty_list() {
    assert_snapshot!(run("
        0 join x
        100 join y
        200 beat x lost
        300 beat x
        310 show
        400 beat x whole
        450 beat x
        500 beat y
        510 show
    "), @r"
      0 * g1: member joined
      0 * g1 is stable
      0 x: e1 [a0 a1 a2 a3]
    100 * g2: member joined
    100 y: e2 []
    200 x: hears nothing
    300 x: e1 as before
    310 group is Reconciling g2 [x@1:a0 a1 back:a2 a3, y@2:]
    400 x: e1 [a0 a1]
    450 x: e2 as before
    500 * g2 is stable
    500 y: e2 [a2 a3]
    510 group is Stable g2 [x@2:a0 a1, y@2:a2 a3]
    ");
}

#[test]
fn a_lost_answer_is_repeated_and_an_old_epoch_is_fenced() {
    assert_snapshot!(run("
        0 join x
        100 join y lost
        200 beat x
        300 beat x
        400 join y
        500 beat y epoch=1
        600 beat y
        700 join y
        800 beat x epoch=7
        900 join x
    "), @r"
      0 * g1: member joined
      0 * g1 is stable
      0 x: e1 [a0 a1 a2 a3]
    100 * g2: member joined
    100 y: hears nothing
    200 x: e1 [a0 a1]
    300 x: e2 as before
    400 * g2 is stable
    400 y: e2 [a2 a3]
    500 y: FencedMemberEpoch
    600 y: e2 as before
    700 y: e2 [a2 a3]
    800 x: FencedMemberEpoch
    900 x: e2 [a0 a1]
    ");
}

#[test]
fn silence_ends_a_session_and_others_take_over() {
    assert_snapshot!(run("
        0 join x
        0 join y
        10 beat x
        20 beat x
        30 beat y
        40000 beat x
        50000 beat x
        60000 beat y
    "), @r"
        0 * g1: member joined
        0 * g1 is stable
        0 x: e1 [a0 a1 a2 a3]
        0 * g2: member joined
        0 y: e2 []
       10 x: e1 [a0 a1]
       20 x: e2 as before
       30 * g2 is stable
       30 y: e2 [a2 a3]
    40000 x: e2 as before
    45030 * y removed: session expired
    45030 * g3: session expired
    50000 * g3 is stable
    50000 x: e3 [a0 a1 a2 a3]
    60000 y: UnknownMember
    ");
}

#[test]
fn members_leave_and_the_last_one_empties_the_group() {
    assert_snapshot!(run("
        0 join x
        10 join y
        20 beat x
        30 beat x
        40 beat y
        100 leave x
        110 beat y
        120 leave x
        130 leave y
        140 show
        150 beat y
        160 commit nobody
        170 delete
        180 show
        190 beat y
    "), @r"
      0 * g1: member joined
      0 * g1 is stable
      0 x: e1 [a0 a1 a2 a3]
     10 * g2: member joined
     10 y: e2 []
     20 x: e1 [a0 a1]
     30 x: e2 as before
     40 * g2 is stable
     40 y: e2 [a2 a3]
    100 * g3: member left
    100 x: e-1 as before
    110 * g3 is stable
    110 y: e3 [a0 a1 a2 a3]
    120 x: UnknownMember
    130 * empty
    130 * g4: member left
    130 y: e-1 as before
    140 group is Empty g4 []
    150 y: UnknownMember
    160 nobody commit: ok
    170 delete: ok
    170 * forgotten
    180 group is gone
    190 y: UnknownGroup
    ");
}

#[test]
fn a_static_member_returns_to_its_partitions() {
    assert_snapshot!(run("
        0 join x static
        10 join y
        20 beat x
        30 beat x
        40 beat y
        50 restart x
        60 join x static
        70 restart x
    "), @r"
     0 * g1: member joined
     0 * g1 is stable
     0 x: e1 [a0 a1 a2 a3]
    10 * g2: member joined
    10 y: e2 []
    20 x: e1 [a0 a1]
    30 x: e2 as before
    40 * g2 is stable
    40 y: e2 [a2 a3]
    60 x: UnreleasedInstance
    ");
    assert_snapshot!(run("
        0 join x static
        10 join y
        20 beat x
        30 beat x
        40 beat y
        50 away x
        60 show
        70 restart x
        80 join x static
        90 beat y
        100 away x
        200 wait
        45100 beat y
        45200 show
    "), @r"
        0 * g1: member joined
        0 * g1 is stable
        0 x: e1 [a0 a1 a2 a3]
       10 * g2: member joined
       10 y: e2 []
       20 x: e1 [a0 a1]
       30 x: e2 as before
       40 * g2 is stable
       40 y: e2 [a2 a3]
       50 x: e-2 as before
       60 group is Reconciling g2 [x@-2:a0 a1, y@2:a2 a3]
       80 * x' is what was x
       80 * g2 is stable
       80 x: e2 [a0 a1]
       90 y: e2 as before
      100 x: e-2 as before
    45080 * x' removed: session expired
    45080 * g3: session expired
    45090 * empty
    45090 * y removed: session expired
    45090 * g4: session expired
    45100 y: UnknownMember
    45200 group is Empty g4 []
    ");
}

#[test]
fn topics_appear_grow_and_vanish() {
    assert_snapshot!(run("
        0 join x topics=a,c
        10 topics a=4 b=2 c=1
        20 beat x
        30 topics a=5 b=2 c=1
        40 beat x
        50 topics b=2 c=1
        60 beat x
        70 beat x
        80 topics b=3 c=1
        90 beat x
    "), @r"
     0 * g1: member joined
     0 * g1 is stable
     0 x: e1 [a0 a1 a2 a3]
    20 * g2: topics changed
    20 * g2 is stable
    20 x: e2 [a0 a1 a2 a3 c0]
    40 * g3: topics changed
    40 * g3 is stable
    40 x: e3 [a0 a1 a2 a3 a4 c0]
    60 * g4: topics changed
    60 x: e3 [c0]
    70 * g4 is stable
    70 x: e4 as before
    90 x: e4 as before
    ");
}

#[test]
fn patterns_follow_the_topics() {
    assert_snapshot!(run("
        0 join x topics= regex=[ab]
        10 beat x regex=(
        20 beat x regex=a
        30 beat x
        40 beat x regex=
        50 beat x topics=b
        60 topics a=1 b=1
        70 beat x
        80 join y topics= regex=.*
    "), @r"
     0 * g1: member joined
     0 * g1 is stable
     0 x: e1 [a0 a1 a2 a3 b0 b1]
    10 x: InvalidRegex
    20 * g2: subscription changed
    20 * g2 is stable
    20 x: e2 [a0 a1 a2 a3]
    30 x: e2 as before
    40 * g3: subscription changed
    40 x: e2 []
    50 * g4: subscription changed
    50 * g4 is stable
    50 x: e4 [b0 b1]
    70 * g5: topics changed
    70 x: e4 [b0]
    80 * g6: member joined
    80 y: e6 [a0]
    ");
}

#[test]
fn range_keeps_equal_numbers_together_and_votes_count() {
    assert_snapshot!(run("
        0 topics a=4 b=4
        1 join x topics=a,b range
        2 join y topics=a,b
        3 beat x
        4 beat x
        5 beat y
        6 show
        7 beat y range
        8 show
    "), @r"
    1 * g1: member joined
    1 * g1 is stable
    1 x: e1 [a0 a1 a2 a3 b0 b1 b2 b3]
    2 * g2: member joined
    2 y: e2 []
    3 x: e1 [a0 a1 b0 b1]
    4 x: e2 as before
    5 * g2 is stable
    5 y: e2 [a2 a3 b2 b3]
    6 group is Stable g2 [x@2:a0 a1 b0 b1, y@2:a2 a3 b2 b3]
    7 y: e2 as before
    8 group is Stable g2 [x@2:a0 a1 b0 b1, y@2:a2 a3 b2 b3]
    ");
}

#[test]
fn commits_and_offset_reads_are_of_the_current_epoch() {
    assert_snapshot!(run("
        0 join x
        1 commit x
        2 commit x epoch=0
        3 fetch x
        4 fetch x epoch=9
        5 fetch nobody
        6 commit nobody
        7 join y
        8 beat x
        9 commit x
        10 beat x
        11 commit x
    "), @r"
     0 * g1: member joined
     0 * g1 is stable
     0 x: e1 [a0 a1 a2 a3]
     1 x commit: ok
     2 x commit: StaleMemberEpoch
     3 x fetch: ok
     4 x fetch: StaleMemberEpoch
     5 nobody fetch: ok
     6 nobody commit: UnknownMember
     7 * g2: member joined
     7 y: e2 []
     8 x: e1 [a0 a1]
     9 x commit: ok
    10 x: e2 as before
    11 x commit: ok
    ");
}

#[test]
fn an_answer_waits_until_what_it_shows_is_stored() {
    assert_snapshot!(run("
        0 hold
        1 join x
        3 store
        4 hold
        5 join y
        6 lose
        7 join y
        8 show
    "), @r"
    1 * g1: member joined
    1 * g1 is stable
    3 x: e1 [a0 a1 a2 a3]
    5 * g2: member joined
    6 y: NotAvailable
    7 y: e2 []
    8 group is Reconciling g2 [x@1:a0 a1 a2 a3, y@2:]
    ");
}

#[test]
fn members_go_on_after_a_crash() {
    assert_snapshot!(run("
        0 join x
        1 join y static
        2 beat x
        3 beat x
        4 beat y
        5 show
        6 crash
        7 show
        8 beat x
        9 beat y
        40000 beat y
        46000 beat y
    "), @r"
        0 * g1: member joined
        0 * g1 is stable
        0 x: e1 [a0 a1 a2 a3]
        1 * g2: member joined
        1 y: e2 []
        2 x: e1 [a0 a1]
        3 x: e2 as before
        4 * g2 is stable
        4 y: e2 [a2 a3]
        5 group is Stable g2 [x@2:a0 a1, y@2:a2 a3]
        7 group is Stable g2 [x@2:a0 a1, y@2:a2 a3]
        8 x: e2 as before
        9 y: e2 as before
    40000 y: e2 as before
    45008 * x removed: session expired
    45008 * g3: session expired
    46000 * g3 is stable
    46000 y: e3 [a0 a1 a2 a3]
    ");
    assert_snapshot!(run("
        0 join x
        1 join y
        2 beat x
        3 hold
        4 beat x
        5 beat y
        6 crash
        7 show
        9 beat x whole
        10 beat y
    "), @r"
     0 * g1: member joined
     0 * g1 is stable
     0 x: e1 [a0 a1 a2 a3]
     1 * g2: member joined
     1 y: e2 []
     2 x: e1 [a0 a1]
     5 * g2 is stable
     7 group is Reconciling g2 [x@1:a0 a1 back:a2 a3, y@2:]
    10 * g2 is stable
    ");
}

#[test]
fn an_empty_group_changes_its_protocol_and_one_with_members_does_not() {
    assert_snapshot!(run("
        0 join x
        1 classic c
        2 leave x
        3 classic c
        4 show
        5 join x
        1000 join x
        1001 beat x
    "), @r"
       0 * g1: member joined
       0 * g1 is stable
       0 x: e1 [a0 a1 a2 a3]
       1 c joins the old way: InconsistentProtocol
       2 * empty
       2 * g2: member left
       2 x: e-1 as before
       3 * forgotten
       3 * g1: member joined
       4 group is gone
       5 x: OtherProtocol
     153 c joins the old way: g1
    1000 x: OtherProtocol
    1001 x: InvalidRequest
    ");
}

#[test]
fn a_group_takes_so_many_members_and_a_member_makes_sense() {
    let options = Options {
        consumer_members_max: 1,
        ..Options::default()
    };
    assert_snapshot!(run_with(options, "
        0 join x topics=
        0 beat nobody epoch=3
        1 leave x
        1 join x
        2 join y
        3 beat x
        4 beat x epoch=-3
        5 join z v0
        6 away x
        7 leave x
        8 join z v0
        9 beat z
    "), @r"
    0 * g1: member joined
    0 * g1 is stable
    0 x: e1 []
    0 nobody: InvalidRequest
    1 * empty
    1 * g2: member left
    1 x: e-1 as before
    1 * g3: member joined
    1 * g3 is stable
    1 x: e3 [a0 a1 a2 a3]
    2 y: GroupFull
    3 x: e3 as before
    4 x: InvalidRequest
    5 z: GroupFull
    6 x: InvalidRequest
    7 * empty
    7 * g4: member left
    7 x: e-1 as before
    8 * g5: member joined
    8 * g5 is stable
    8 z: e5 [a0 a1 a2 a3]
    9 z: e5 as before
    ");
}

#[test]
fn an_empty_group_is_forgotten_in_time() {
    let options = Options {
        offsets_retention: Duration::from_mins(1),
        ..Options::default()
    };
    assert_snapshot!(run_with(options, "
        0 join x
        1 leave x
        60000 show
        60001 show
    "), @r"
        0 * g1: member joined
        0 * g1 is stable
        0 x: e1 [a0 a1 a2 a3]
        1 * empty
        1 * g2: member left
        1 x: e-1 as before
    60000 group is Empty g2 []
    60001 * forgotten
    60001 group is gone
    ");
}
