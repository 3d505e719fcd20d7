//! Typical lives of a group as clients see them.

use std::time::Duration;

use groups::Options;
use insta::assert_snapshot;

use crate::play::{run, run_with};

/// Two members that are stable in generation 1 at 200 ms; `a` leads.
const TWO_STABLE: &str = "
    0 join a
    0 join b
    10 join a
    20 join b
    180 sync a
    190 sync b
";

/// What happens after [`TWO_STABLE`].
fn then(script: &str) -> String {
    let before = run(TWO_STABLE);
    let all = run(&format!("{TWO_STABLE}{script}"));
    all.strip_prefix(&before).unwrap().to_owned()
}

#[test]
fn members_started_together_share_one_generation() {
    assert_snapshot!(run(TWO_STABLE), @r"
      0 a join: MemberIdRequired
      0 b join: MemberIdRequired
     10 * rebalancing g0: member joined
    170 * g1 of 2
    170 a join: g1 range, leads [a b]
    170 b join: g1 range, follows a
    180 a sync: works on 'a in g1'
    180 * g1 is stable
    190 b sync: works on 'b in g1'
    ");
}

#[test]
fn the_first_rebalance_waits_at_most_half_a_second() {
    assert_snapshot!(run("
        0 join a v3
        140 join b v3
        280 join c v3
        420 join d v3
        600 join e v3
        700 wait
    "), @r"
      0 * rebalancing g0: member joined
    500 * g1 of 4
    500 a join: g1 range, leads [a b c d]
    500 b join: g1 range, follows a
    500 c join: g1 range, follows a
    500 d join: g1 range, follows a
    600 * rebalancing g1: member joined
    ");
}

#[test]
fn a_member_that_joins_waits_for_those_who_work() {
    assert_snapshot!(then("
        1000 join c
        1001 join c
        1002 beat a
        1003 commit a
        1004 sync b
        1010 join a
        1500 join b
        1510 beat b
        1520 commit b
        1530 sync b
        1540 sync c
        1550 sync a
        1560 show
    "), @r"
    1000 c join: MemberIdRequired
    1001 * rebalancing g1: member joined
    1002 a beat: RebalanceInProgress
    1003 a commit: ok
    1004 b sync: RebalanceInProgress
    1500 * g2 of 3
    1500 a join: g2 range, leads [a b c]
    1500 b join: g2 range, follows a
    1500 c join: g2 range, follows a
    1510 b beat: ok
    1520 b commit: RebalanceInProgress
    1550 a sync: works on 'a in g2'
    1550 b sync: works on 'b in g2'
    1550 c sync: works on 'c in g2'
    1550 * g2 is stable
    1560 group is Stable g2 [a='a in g2' b='b in g2' c='c in g2']
    ");
}

#[test]
fn a_member_that_leaves_or_falls_silent_is_replaced() {
    assert_snapshot!(then("
        1000 leave b
        1010 join a
        1020 sync a
        1030 join b
        11025 wait
        12000 show
    "), @r"
     1000 b leave: ok
     1000 * rebalancing g1: member left
     1010 * g2 of 1
     1010 a join: g2 range, leads [a]
     1020 a sync: works on 'a in g2'
     1020 * g2 is stable
     1030 b join: UnknownMember
    11020 * a removed: session expired
    11020 * rebalancing g2: session expired
    11020 * g3 is empty
    12000 group is Empty g3 []
    ");
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_dropped() {
    assert_snapshot!(then("
        1000 restart b
        1000 join b
        1000 join b
        5000 join b
        6000 beat a
        7000 wait
    "), @r"
    1000 b join: MemberIdRequired
    1000 * rebalancing g1: member joined
    5000 b join: RebalanceInProgress
    6000 * a removed: join expired
    6000 * b removed: join expired
    6000 * g2 of 1
    6000 b join: g2 range, leads [b']
    6000 a beat: UnknownMember
    ");
}

#[test]
fn a_member_that_never_syncs_is_dropped_even_from_a_stable_group() {
    assert_snapshot!(run("
        0 join a v3
        0 join b v3
        200 sync a
        4000 beat b
        6000 show
        6000 beat b
    "), @r"
       0 * rebalancing g0: member joined
     150 * g1 of 2
     150 a join: g1 range, leads [a b]
     150 b join: g1 range, follows a
     200 a sync: works on 'a in g1'
     200 * g1 is stable
    4000 b beat: ok
    5150 * b removed: sync expired
    5150 * rebalancing g1: sync expired
    6000 group is PreparingRebalance g1 [a='']
    6000 b beat: UnknownMember
    ");
}

#[test]
fn a_leader_that_dies_before_it_assigns_is_replaced() {
    assert_snapshot!(run("
        0 join a v3
        0 join b v3
        200 sync b
        5200 join b
        5210 sync b
    "), @r"
       0 * rebalancing g0: member joined
     150 * g1 of 2
     150 a join: g1 range, leads [a b]
     150 b join: g1 range, follows a
    5150 * a removed: sync expired
    5150 b sync: RebalanceInProgress
    5150 * rebalancing g1: sync expired
    5200 * g2 of 1
    5200 b join: g2 range, leads [b]
    5210 b sync: works on 'b in g2'
    5210 * g2 is stable
    ");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    assert_snapshot!(run("
        0 join a static
        0 join b static
        200 sync a
        210 sync b
        1000 restart b
        1000 join b
        1010 sync b
        2000 restart a
        2000 join a
        2010 sync a
        3000 restart a
        3000 join a v9
        3010 sync a
        3020 beat a
        3030 show
    "), @r"
       0 * rebalancing g0: member joined
     150 * g1 of 2
     150 a join: g1 range, leads [a b]
     150 b join: g1 range, follows a
     200 a sync: works on 'a in g1'
     200 * g1 is stable
     210 b sync: works on 'b in g1'
    1000 * b is fenced
    1000 b join: g1 range, follows a
    1010 b sync: works on 'b in g1'
    2000 * a is fenced
    2000 a join: g1 range, follows a
    2010 a sync: works on 'a in g1'
    3000 * a' is fenced
    3000 a join: g1 range, leads [a'' b'], need not assign
    3010 a sync: works on 'a in g1'
    3020 a beat: ok
    3030 group is Stable g1 [a''='a in g1' b'='b in g1']
    ");
}

#[test]
fn the_older_of_two_processes_with_one_instance_id_is_fenced() {
    let script = "
        0 join a static
        160 sync a
        1000 hold a
        1000 restart a
        1000 join a
        1005 restart a
        1006 join a
        1010 store
        1020 beat a
    ";
    assert_snapshot!(run(script), @r"
       0 * rebalancing g0: member joined
     150 * g1 of 1
     150 a join: g1 range, leads [a]
     160 a sync: works on 'a in g1'
     160 * g1 is stable
    1000 * a is fenced
    1006 a join: FencedInstance
    1006 * a is fenced
    1010 a join: g1 range, follows a
    1020 a beat: ok
    ");
}

#[test]
fn a_static_member_that_is_away_has_a_seat_in_the_next_generation() {
    assert_snapshot!(run("
        0 join a static
        0 join b v3
        160 sync b
        165 sync a
        1000 join b speaks=range:new
        6500 sync b
        6600 beat b
        9000 beat b
        13000 beat b
        17000 show
    "), @r"
        0 * rebalancing g0: member joined
      150 * g1 of 2
      150 a join: g1 range, leads [a b]
      150 b join: g1 range, follows a
      165 a sync: works on 'a in g1'
      165 b sync: works on 'b in g1'
      165 * g1 is stable
     1000 * rebalancing g1: member rejoined
     6000 * g2 of 2
     6000 b join: g2 range, leads [a b]
     6500 b sync: works on 'b in g2'
     6500 * g2 is stable
     6600 b beat: ok
     9000 b beat: ok
    11000 * a removed: sync expired
    11000 * rebalancing g2: sync expired
    13000 b beat: RebalanceInProgress
    16000 * b removed: join expired
    16000 * g3 is empty
    17000 group is Empty g3 []
    ");
}

#[test]
fn an_administrator_removes_a_static_member_by_its_name() {
    assert_snapshot!(run("
        0 join a static
        160 sync a
        500 leave a by-instance
        510 leave a by-instance
        520 show
    "), @r"
      0 * rebalancing g0: member joined
    150 * g1 of 1
    150 a join: g1 range, leads [a]
    160 a sync: works on 'a in g1'
    160 * g1 is stable
    500 a leave: ok
    500 * rebalancing g1: member left
    500 * g2 is empty
    510 a leave: UnknownMember
    520 group is Empty g2 []
    ");
}

#[test]
fn a_join_without_news_only_repeats_the_answer() {
    assert_snapshot!(then("
        1000 join b
        1010 beat a
        1020 join a
        1030 join b speaks=range:other
    "), @r"
    1000 b join: g1 range, follows a
    1010 a beat: ok
    1020 * rebalancing g1: member rejoined
    1030 * g2 of 2
    1030 a join: g2 range, leads [a b]
    1030 b join: g2 range, follows a
    ");
}

#[test]
fn the_protocol_all_speak_and_most_prefer_is_chosen() {
    assert_snapshot!(run("
        0 join a v3 speaks=range,sticky
        0 join b v3 speaks=sticky,range,odd
        0 join c v3 speaks=sticky,range
        0 join d v3 speaks=odd
        0 join e v3 type=connect speaks=range
        0 join f v3 speaks=odd,range
        200 wait
    "), @r"
      0 * rebalancing g0: member joined
      0 d join: InconsistentProtocol
      0 e join: InconsistentProtocol
    150 * g1 of 4
    150 a join: g1 range, leads [a b c f]
    150 b join: g1 range, follows a
    150 c join: g1 range, follows a
    150 f join: g1 range, follows a
    ");
}

#[test]
fn an_assignment_that_cannot_be_stored_is_not_given_out() {
    assert_snapshot!(run("
        0 join a v3
        0 join b v3
        200 hold
        200 sync a
        210 sync b
        220 show
        230 lose
        240 join a
        250 join b
        260 sync a
        270 sync b
    "), @r"
      0 * rebalancing g0: member joined
    150 * g1 of 2
    150 a join: g1 range, leads [a b]
    150 b join: g1 range, follows a
    220 group is CompletingRebalance g1 [a='' b='']
    230 a sync: NotAvailable
    230 b sync: NotAvailable
    230 * rebalancing g1: store failed
    250 * g2 of 2
    250 a join: g2 range, leads [a b]
    250 b join: g2 range, follows a
    260 a sync: works on 'a in g2'
    260 * g2 is stable
    270 b sync: works on 'b in g2'
    ");
}

#[test]
fn an_assignment_stored_too_late_is_not_given_out_in_the_next_generation() {
    assert_snapshot!(run("
        0 join a v3
        0 join b v3
        200 hold
        200 sync a
        210 join c v3
        220 join a
        230 join b
        240 sync b
        250 store
        260 show
        270 sync a
    "), @r"
      0 * rebalancing g0: member joined
    150 * g1 of 2
    150 a join: g1 range, leads [a b]
    150 b join: g1 range, follows a
    210 a sync: RebalanceInProgress
    210 * rebalancing g1: member joined
    230 * g2 of 3
    230 a join: g2 range, leads [a b c]
    230 b join: g2 range, follows a
    230 c join: g2 range, follows a
    260 group is CompletingRebalance g2 [a='' b='' c='']
    270 a sync: works on 'a in g2'
    270 b sync: works on 'b in g2'
    270 * g2 is stable
    ");
}

#[test]
fn a_group_resumes_after_a_crash() {
    assert_snapshot!(then("
        3000 crash
        3010 beat b
        3020 commit a
        3030 sync b
        3040 show
        12000 beat b
        13500 show
    "), @r"
     3010 b beat: ok
     3020 a commit: ok
     3030 b sync: works on 'b in g1'
     3040 group is Stable g1 [a='a in g1' b='b in g1']
    12000 b beat: ok
    13020 * a removed: session expired
    13020 * rebalancing g1: session expired
    13500 group is PreparingRebalance g1 [b='']
    ");
}

#[test]
fn a_pending_member_holds_the_barrier_only_for_its_session() {
    assert_snapshot!(run("
        0 join a v3 rebalance=60000
        0 join b v3 rebalance=60000
        160 sync a
        170 sync b
        1000 join c session=6000
        1100 leave b
        1110 join a rebalance=60000
        7500 wait
    "), @r"
       0 * rebalancing g0: member joined
     150 * g1 of 2
     150 a join: g1 range, leads [a b]
     150 b join: g1 range, follows a
     160 a sync: works on 'a in g1'
     160 * g1 is stable
     170 b sync: works on 'b in g1'
    1000 c join: MemberIdRequired
    1100 b leave: ok
    1100 * rebalancing g1: member left
    7000 * g2 of 1
    7000 a join: g2 range, leads [a]
    ");
}

#[test]
fn limits_hold() {
    let options = Options {
        members_max: 2,
        pending_max: 1,
        ..Options::default()
    };
    assert_snapshot!(run_with(options, "
        0 join a
        0 join x
        10 join a
        20 join b v3
        200 join c v3
        300 join d v3 session=5999
        300 join d v3 session=1800001
    "), @r"
      0 a join: MemberIdRequired
      0 x join: GroupFull
     10 * rebalancing g0: member joined
    170 * g1 of 2
    170 a join: g1 range, leads [a b]
    170 b join: g1 range, follows a
    200 c join: GroupFull
    300 d join: InvalidSessionTimeout
    300 d join: InvalidSessionTimeout
    ");
}

#[test]
fn an_empty_group_is_forgotten_and_simple_consumers_may_commit() {
    let options = Options {
        offsets_retention: Duration::from_mins(1),
        ..Options::default()
    };
    assert_snapshot!(run_with(options, "
        0 commit nobody
        0 join a v3
        10 commit nobody
        160 sync a
        200 leave a
        300 commit nobody
        310 commit a
        60300 show
        60310 join a
    "), @r"
        0 nobody commit: ok
        0 * rebalancing g0: member joined
       10 nobody commit: UnknownMember
      150 * g1 of 1
      150 a join: g1 range, leads [a]
      160 a sync: works on 'a in g1'
      160 * g1 is stable
      200 a leave: ok
      200 * rebalancing g1: member left
      200 * g2 is empty
      300 nobody commit: ok
      310 a commit: UnknownMember
    60200 * forgotten
    60300 group is gone
    60310 a join: UnknownMember
    ");
}
