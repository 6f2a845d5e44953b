//! What a granter answers in each situation, as tables.

use super::*;
use crate::lease::params::GRANTS_PER_HOLDER_MAX;

const MS: u64 = 1_000_000;
const ME: NodeId = 1;
const BOOT: Boot = Boot(70);
/// Leases of a second; the wait that goes with them, rounded up to a whole millisecond.
const WAIT_MS: u64 = 1_021;

fn at(ms: u64) -> Reading {
    Reading { boottime_ns: ms * MS, raw_ns: ms * MS }
}

fn granter() -> Granter {
    let params = Params::new(1_000 * MS, 250 * MS, 10_000).expect("in bounds");
    let mut granter = Granter::new(params, ME, BOOT);
    granter.members(BTreeSet::from([1, 2, 3, 9]));
    granter
}

/// A reign in term 5 since 0 ms, its barrier applied, the leases of earlier reigns over.
fn reigning() -> Granter {
    let mut granter = granter();
    let barrier = vec![Action::ProposeBarrier { term: 5, boot: BOOT }];
    assert_eq!(granter.lead(at(0), 5), barrier);
    granter.barrier_applied(5, BOOT);
    granter
}

fn request(node: NodeId, nonce: u64) -> Request {
    Request { node, boot: Boot(node * 10), nonce, published: 0, digest: 0, wall_ms: 0 }
}

fn ask(granter: &mut Granter, ms: u64, node: NodeId, nonce: u64) -> Vec<Action> {
    granter.request(at(ms), 0, node, &request(node, nonce))
}

fn granted(node: NodeId, nonce: u64, commit: u64) -> Action {
    let grant = Grant { boot: Boot(node * 10), nonce, commit, wall_ms: 0 };
    Action::Answer { to: node, answer: Answer::Granted(grant) }
}

fn refused(node: NodeId, nonce: u64, reason: Reason) -> Action {
    let answer = Answer::Refused { boot: Boot(node * 10), nonce, reason };
    Action::Answer { to: node, answer }
}

/// Grants `node` a lease at `ms` with read index `commit`.
fn grant(granter: &mut Granter, ms: u64, node: NodeId, commit: u64) {
    let started = ask(granter, ms, node, ms);
    let [Action::StartRound(round)] = started[..] else { panic!("{started:?}") };
    let actions = granter.round_done(at(ms), 0, round, Some(commit));
    assert_eq!(actions, [granted(node, ms, commit)]);
}

fn wait(granter: &Granter, ms: u64, index: u64) -> AckWait {
    granter.ack_wait(at(ms), Stamper { term: 5, node: ME }, index)
}

fn waits_for(nodes: &[NodeId], granter: &Granter, ms: u64, index: u64) {
    match wait(granter, ms, index) {
        AckWait::WaitUntil { left_ns: Some(_), holders } => assert_eq!(holders, nodes, "{ms}"),
        other => panic!("at {ms}: {other:?}"),
    }
}

fn report(granter: &mut Granter, node: NodeId, published: u64) {
    let report = Report { node, boot: Boot(node * 10), published, released: false };
    granter.report(node, &report);
}

#[test]
fn who_gets_no_lease_and_why() {
    let mut idle = granter();
    assert_eq!(ask(&mut idle, 0, 2, 1), [refused(2, 1, Reason::NotLeader)]);

    let mut new = granter();
    new.lead(at(0), 5);
    assert_eq!(ask(&mut new, 9_000, 2, 1), [refused(2, 1, Reason::TakingOffice)]);
    for (term, boot) in [(4, BOOT), (6, BOOT), (5, Boot(71))] {
        new.barrier_applied(term, boot);
        let answer = ask(&mut new, 9_000, 2, 1);
        assert_eq!(answer, [refused(2, 1, Reason::TakingOffice)], "barrier of {term} {boot:?}");
    }
    new.barrier_applied(5, BOOT);
    assert!(matches!(ask(&mut new, 9_000, 2, 1)[..], [Action::StartRound(_)]));

    let mut leader = reigning();
    assert_eq!(ask(&mut leader, 1, 4, 1), [refused(4, 1, Reason::NotMember)]);
    let posing = Request { node: 3, ..request(2, 1) };
    let answer = leader.request(at(1), 0, 2, &posing);
    assert_eq!(answer, [refused(2, 1, Reason::NotMember)], "a peer speaks for another");
}

#[test]
fn requests_that_wait_share_the_next_round_and_never_the_one_under_way() {
    let mut granter = reigning();
    let started = ask(&mut granter, 1, 2, 1);
    let [Action::StartRound(first)] = started[..] else { panic!("{started:?}") };
    assert_eq!(ask(&mut granter, 2, 3, 1), []);
    assert_eq!(ask(&mut granter, 2, 9, 1), []);
    let actions = granter.round_done(at(3), 0, first, Some(40));
    let [answer, Action::StartRound(second)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(answer, granted(2, 1, 40));
    assert_eq!(granter.round_done(at(4), 0, first, Some(41)), [], "done before");
    let actions = granter.round_done(at(4), 0, second, Some(42));
    assert_eq!(actions, [granted(3, 1, 42), granted(9, 1, 42)]);
}

#[test]
fn a_failed_round_refuses_and_holds_nothing_up() {
    let mut granter = reigning();
    let started = ask(&mut granter, 2_000, 2, 1);
    let [Action::StartRound(round)] = started[..] else { panic!("{started:?}") };
    waits_for(&[2], &granter, 2_001, 1);
    let actions = granter.round_done(at(2_001), 0, round, None);
    assert_eq!(actions, [refused(2, 1, Reason::NoQuorum)]);
    assert_eq!(wait(&granter, 2_001, 1), AckWait::Ready);
}

#[test]
fn no_revoke_is_answered_before_the_leases_of_earlier_reigns_are_over() {
    let granter = reigning();
    waits_for(&[], &granter, 0, 7);
    waits_for(&[], &granter, WAIT_MS - 1, 7);
    assert_eq!(wait(&granter, WAIT_MS, 7), AckWait::Ready);
    // A suspended granter has not waited.
    let suspended = Reading { boottime_ns: 9_000 * MS, raw_ns: 5 * MS };
    let stamper = Stamper { term: 5, node: ME };
    assert!(matches!(granter.ack_wait(suspended, stamper, 7), AckWait::WaitUntil { .. }));
}

#[test]
fn a_revoke_waits_for_grants_below_it_and_for_no_other() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    grant(&mut granter, 2_100, 3, 20);
    // index, waited for at 2 200 ms
    let rows: [(u64, &[NodeId]); 4] = [(10, &[]), (11, &[2]), (20, &[2]), (21, &[2, 3])];
    for (index, nodes) in rows {
        if nodes.is_empty() {
            assert_eq!(wait(&granter, 2_200, index), AckWait::Ready, "{index}");
        } else {
            waits_for(nodes, &granter, 2_200, index);
        }
    }
    waits_for(&[3], &granter, 2_000 + WAIT_MS, 21);
    assert_eq!(wait(&granter, 2_100 + WAIT_MS, 21), AckWait::Ready);
}

#[test]
fn a_grant_whose_index_is_unknown_holds_up() {
    let mut granter = reigning();
    ask(&mut granter, 2_000, 2, 1);
    waits_for(&[2], &granter, 2_001, 1);
}

#[test]
fn a_newer_grant_does_not_hide_an_older_one() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    grant(&mut granter, 2_100, 2, 20);
    waits_for(&[2], &granter, 2_200, 15);
    assert_eq!(wait(&granter, 2_000 + WAIT_MS, 15), AckWait::Ready);
}

#[test]
fn a_report_ends_the_wait_for_its_own_boot_only() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    report(&mut granter, 2, 14);
    waits_for(&[2], &granter, 2_001, 15);
    let other = Report { node: 2, boot: Boot(21), published: 15, released: false };
    granter.report(2, &other);
    waits_for(&[2], &granter, 2_001, 15);
    let posing = Report { node: 2, boot: Boot(20), published: 15, released: true };
    granter.report(3, &posing);
    waits_for(&[2], &granter, 2_001, 15);
    report(&mut granter, 2, 15);
    assert_eq!(wait(&granter, 2_001, 15), AckWait::Ready);
    report(&mut granter, 2, 3);
    assert_eq!(wait(&granter, 2_001, 15), AckWait::Ready, "never backwards");
}

#[test]
fn a_request_reports_too() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    let renewal = Request { published: 15, ..request(2, 77) };
    let started = granter.request(at(2_100), 0, 2, &renewal);
    let [Action::StartRound(round)] = started[..] else { panic!("{started:?}") };
    granter.round_done(at(2_100), 0, round, Some(15));
    assert_eq!(wait(&granter, 2_101, 15), AckWait::Ready);
    waits_for(&[2], &granter, 2_101, 16);
}

#[test]
fn released_leases_are_waited_for_no_more_and_another_boots_are() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    let released = |boot| Report { node: 2, boot, published: 10, released: true };
    granter.report(2, &released(Boot(19)));
    waits_for(&[2], &granter, 2_001, 15);
    granter.report(2, &released(Boot(20)));
    assert_eq!(wait(&granter, 2_001, 15), AckWait::Ready);
}

#[test]
fn only_the_reign_that_stamped_an_entry_acknowledges_it() {
    // reigns begun and whether the last still is, stamp, outcome at a time when nothing is waited for
    let unnoticed = AckWait::WaitUntil { left_ns: None, holders: Vec::new() };
    let rows = [
        (&[5][..], true, (5, ME), AckWait::Ready),
        (&[5], true, (5, 2), AckWait::ReignOver),
        (&[5], true, (4, ME), AckWait::ReignOver),
        (&[5], true, (7, ME), unnoticed.clone()),
        (&[5], false, (5, ME), AckWait::ReignOver),
        (&[5], false, (6, ME), unnoticed.clone()),
        (&[5, 7], true, (5, ME), AckWait::ReignOver),
        (&[5, 7], true, (7, ME), AckWait::Ready),
        (&[7, 5], true, (5, ME), AckWait::ReignOver),
        (&[], false, (1, ME), unnoticed),
        (&[], false, (1, 2), AckWait::ReignOver),
    ];
    for (terms, reigns, (term, node), outcome) in rows {
        let mut granter = granter();
        for term in terms {
            granter.lead(at(0), *term);
        }
        if !reigns {
            granter.follow();
        }
        let found = granter.ack_wait(at(9_000), Stamper { term, node }, 3);
        assert_eq!(found, outcome, "reigns {terms:?} ({reigns}), stamped by {node} in {term}");
    }
}

#[test]
fn a_new_reign_forgets_grants_and_refuses_who_waits() {
    let mut granter = reigning();
    let started = ask(&mut granter, 2_000, 2, 1);
    let [Action::StartRound(round)] = started[..] else { panic!("{started:?}") };
    ask(&mut granter, 2_000, 3, 1);
    assert_eq!(granter.lead(at(2_001), 5), [], "the same reign");
    let actions = granter.lead(at(2_001), 7);
    let expected = [
        refused(2, 1, Reason::NotLeader),
        refused(3, 1, Reason::NotLeader),
        Action::ProposeBarrier { term: 7, boot: BOOT },
    ];
    assert_eq!(actions, expected);
    assert_eq!(granter.round_done(at(2_002), 0, round, Some(9)), [], "a round of the old reign");
    assert_eq!(granter.leases(at(2_002)), []);
    let stamper = Stamper { term: 7, node: ME };
    assert!(matches!(granter.ack_wait(at(2_002), stamper, 9), AckWait::WaitUntil { .. }));
    assert_eq!(granter.ack_wait(at(2_001 + WAIT_MS), stamper, 9), AckWait::Ready);
}

#[test]
fn a_reign_that_was_lost_from_sight_begins_anew() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    granter.follow();
    let barrier = [Action::ProposeBarrier { term: 5, boot: BOOT }];
    assert_eq!(granter.lead(at(2_001), 5), barrier);
    waits_for(&[], &granter, 2_000 + WAIT_MS, 10);
}

#[test]
fn a_view_that_has_not_seen_what_was_committed_half_a_lease_ago_gets_no_lease() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    grant(&mut granter, 2_200, 2, 20);
    // published, asked at, refused
    let rows = [
        (0, 2_499, false),
        (9, 2_500, true),
        (10, 2_500, false),
        (10, 2_699, false),
        (19, 2_700, true),
        (20, 2_700, false),
    ];
    for (published, ms, lags) in rows {
        let lagging = Request { published, ..request(3, ms) };
        let answer = granter.request(at(ms), 0, 3, &lagging);
        let refusal = [refused(3, ms, Reason::Lagging)];
        assert_eq!(answer == refusal, lags, "{published} at {ms}: {answer:?}");
        if let [Action::StartRound(round)] = answer[..] {
            granter.round_done(at(ms), 0, round, None);
        }
    }
}

#[test]
fn what_one_holder_can_make_the_leader_keep_is_bounded() {
    let mut granter = reigning();
    for n in 0..GRANTS_PER_HOLDER_MAX as u64 {
        grant(&mut granter, 2_000 + n, 2, 1);
    }
    assert_eq!(ask(&mut granter, 2_100, 2, 1), [refused(2, 1, Reason::TooMany)]);
    let later = Request { published: 1, ..request(2, 1) };
    let answer = granter.request(at(2_000 + WAIT_MS), 0, 2, &later);
    assert!(matches!(answer[..], [Action::StartRound(_)]), "the first has run out: {answer:?}");
}

#[test]
fn status_shows_every_unexpired_lease() {
    let mut granter = reigning();
    grant(&mut granter, 2_000, 2, 10);
    grant(&mut granter, 2_400, 2, 10);
    report(&mut granter, 2, 12);
    let leases = granter.leases(at(2_400 + WAIT_MS - 1));
    let [lease] = leases[..] else { panic!("{leases:?}") };
    assert_eq!((lease.holder, lease.reported, lease.grants), ((2, Boot(20)), 12, 1));
    assert!(lease.left_ns > 0 && lease.left_ns <= MS);
    assert_eq!(granter.leases(at(2_400 + WAIT_MS)), []);
}

#[test]
fn a_wall_clock_far_from_the_voters_is_astray() {
    let mut granter = reigning();
    assert_eq!(granter.wall_clock_agrees(&[1, 2, 3]), None, "too few heard");
    for (theirs_ms, astray) in [(100_000, false), (105_000, false), (105_001, true), (90_000, true)]
    {
        for node in [2, 3] {
            let heard = Request { wall_ms: theirs_ms, ..request(node, 1) };
            granter.request(at(1), 100_000, node, &heard);
        }
        assert_eq!(granter.wall_clock_agrees(&[1, 2, 3]), Some(!astray), "{theirs_ms}");
    }
}

#[test]
fn where_no_other_node_was_ever_a_member_there_are_no_earlier_leases_to_wait_for() {
    let mut granter = reigning();
    waits_for(&[], &granter, 1, 9);
    granter.sole(true);
    assert_eq!(wait(&granter, 1, 9), AckWait::Ready);
    // Its own lease of this reign still counts.
    grant(&mut granter, 1, ME, 8);
    waits_for(&[ME], &granter, 2, 9);
    report(&mut granter, ME, 9);
    assert_eq!(wait(&granter, 2, 9), AckWait::Ready);
    granter.sole(false);
    waits_for(&[], &granter, 2, 9);
}
