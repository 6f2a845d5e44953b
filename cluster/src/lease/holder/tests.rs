//! What a holder does with each grant, as tables.

use super::*;
use crate::lease::clock::LeaseClock;

const MS: u64 = 1_000_000;
const BOOT: Boot = Boot(7);

fn at(ms: u64) -> Reading {
    Reading { boottime_ns: ms * MS, raw_ns: ms * MS }
}

/// Leases of a second, renewed four times in it.
fn holder() -> Holder {
    let params = Params::new(1_000 * MS, 250 * MS, 10_000).expect("in bounds");
    Holder::new(params, 3, BOOT)
}

fn grant(nonce: u64, commit: u64) -> Grant {
    Grant { boot: BOOT, nonce, commit, wall_ms: 0 }
}

fn ask(holder: &mut Holder, ms: u64) -> u64 {
    holder.request(at(ms), 0).expect("not closed").nonce
}

#[test]
fn a_request_says_who_asks_and_how_far_its_view_is() {
    let mut holder = holder();
    holder.published(41, false);
    holder.digested(6);
    assert_eq!(
        holder.request(at(5), 99),
        Some(Request { node: 3, boot: BOOT, nonce: 1, published: 41, digest: 6, wall_ms: 99 })
    );
    assert_eq!(holder.request(at(6), 99).map(|request| request.nonce), Some(2));
}

#[test]
fn a_lease_runs_from_before_its_request_was_sent() {
    // asked at, granted at, what became of it, usable from then on until
    let rows = [
        (100, 110, Received::Usable, 1_100),
        (100, 1_099, Received::Usable, 1_100),
        (100, 1_100, Received::TooLate, 0),
        (100, 9_000, Received::TooLate, 0),
    ];
    for (asked, granted, received, end) in rows {
        let mut holder = holder();
        let nonce = ask(&mut holder, asked);
        assert_eq!(holder.granted(at(granted), &grant(nonce, 0)), received, "{granted}");
        let gate = holder.gate();
        assert_eq!(gate.usable(at(end.max(1) - 1)), end > 0, "{granted}");
        assert!(!gate.usable(at(end)), "{granted}");
    }
}

#[test]
fn a_suspend_ends_a_lease() {
    let mut holder = holder();
    let nonce = ask(&mut holder, 100);
    let suspended = Reading { boottime_ns: 1_100 * MS, raw_ns: 101 * MS };
    assert_eq!(holder.granted(suspended, &grant(nonce, 0)), Received::TooLate);
    let nonce = holder.request(suspended, 0).expect("not closed").nonce;
    assert_eq!(holder.granted(suspended, &grant(nonce, 0)), Received::Usable);
    let later = Reading { boottime_ns: 2_100 * MS, raw_ns: 102 * MS };
    assert!(!holder.gate().usable(later));
}

#[test]
fn a_lease_waits_for_the_view_and_the_older_one_is_used_meanwhile() {
    let mut holder = holder();
    holder.published(5, false);
    let first = ask(&mut holder, 0);
    assert_eq!(holder.granted(at(10), &grant(first, 5)), Received::Usable);
    let second = ask(&mut holder, 500);
    assert_eq!(holder.granted(at(510), &grant(second, 9)), Received::Waits { until: 9 });
    let gate = holder.gate();
    assert!(gate.usable(at(999)), "the older one");
    assert!(!gate.usable(at(1_000)), "not yet the newer one");
    holder.published(8, false);
    assert!(!gate.usable(at(1_000)), "one short");
    holder.published(9, false);
    assert!(gate.usable(at(1_499)));
    assert!(!gate.usable(at(1_500)));
}

#[test]
fn of_the_leases_that_the_view_has_reached_the_newest_counts() {
    // Commit indexes of leases asked for at 0, 100 and 200 ms; published; the end of what is used.
    let rows = [
        ([1, 2, 3], 0, 0),
        ([1, 2, 3], 1, 1_000),
        ([1, 2, 3], 2, 1_100),
        ([1, 2, 3], 7, 1_200),
        ([3, 2, 1], 1, 1_200),
        ([2, 9, 2], 2, 1_200),
        ([2, 2, 9], 2, 1_100),
    ];
    for (commits, published, end) in rows {
        let mut holder = holder();
        let nonces = [0, 100, 200].map(|ms| ask(&mut holder, ms));
        for (nonce, commit) in nonces.into_iter().zip(commits) {
            holder.granted(at(300), &grant(nonce, commit));
        }
        holder.published(published, false);
        let left_ns = holder.gate().left_ns(at(300));
        assert_eq!(left_ns, if end == 0 { 0 } else { (end - 300) * MS }, "{commits:?} {published}");
    }
}

#[test]
fn grants_that_arrive_out_of_order_do_not_shorten_the_lease() {
    let mut holder = holder();
    let (older, newer) = (ask(&mut holder, 0), ask(&mut holder, 300));
    assert_eq!(holder.granted(at(310), &grant(newer, 0)), Received::Usable);
    assert_eq!(holder.granted(at(320), &grant(older, 0)), Received::Usable);
    assert!(holder.gate().usable(at(1_299)));
}

#[test]
fn an_answer_counts_once_and_for_its_own_request_and_boot() {
    let mut holder = holder();
    let (first, second) = (ask(&mut holder, 0), ask(&mut holder, 10));
    let foreign = Grant { boot: Boot(8), ..grant(first, 0) };
    assert_eq!(holder.granted(at(20), &foreign), Received::Unasked);
    assert_eq!(holder.granted(at(20), &grant(99, 0)), Received::Unasked);
    assert!(!holder.gate().usable(at(20)));
    holder.refused(second);
    assert_eq!(holder.granted(at(20), &grant(second, 0)), Received::Unasked, "refused before");
    assert_eq!(holder.granted(at(20), &grant(first, 0)), Received::Usable);
    assert_eq!(holder.granted(at(21), &grant(first, 0)), Received::Unasked, "answered before");
}

#[test]
fn what_waits_is_bounded() {
    let mut holder = holder();
    let nonces: Vec<u64> = (0..40).map(|ms| ask(&mut holder, ms)).collect();
    assert_eq!(holder.sent.len(), HOLDER_PENDING_MAX);
    assert_eq!(holder.granted(at(50), &grant(nonces[0], 0)), Received::Unasked, "long forgotten");
    for ms in 100..140 {
        let nonce = ask(&mut holder, ms);
        holder.granted(at(ms), &grant(nonce, 1_000));
    }
    assert_eq!(holder.waiting.len(), HOLDER_PENDING_MAX);
}

#[test]
fn a_revoke_is_reported_when_its_view_is_published_and_other_entries_are_not() {
    let mut holder = holder();
    assert_eq!(holder.published(4, false), None);
    let report = Report { node: 3, boot: BOOT, published: 6, released: false };
    assert_eq!(holder.published(6, true), Some(report));
    assert_eq!(holder.published(5, true), Some(report), "never backwards");
}

#[test]
fn who_gave_the_leases_up_uses_none_and_asks_for_none() {
    let mut holder = holder();
    let (first, second) = (ask(&mut holder, 0), ask(&mut holder, 1));
    holder.granted(at(2), &grant(first, 0));
    holder.published(3, false);
    assert!(holder.gate().usable(at(3)));
    let released = Report { node: 3, boot: BOOT, published: 3, released: true };
    assert_eq!(holder.shut(), released);
    assert!(!holder.gate().usable(at(3)));
    assert_eq!(holder.granted(at(4), &grant(second, 0)), Received::Closed);
    assert_eq!(holder.request(at(5), 0), None);
    assert_eq!(holder.published(9, true), None);
    assert!(!holder.gate().usable(at(5)));
}

#[test]
fn the_next_request_is_due_a_renewal_after_the_last() {
    let mut holder = holder();
    assert_eq!(holder.due_in_ns(at(70)), 0);
    ask(&mut holder, 70);
    for (ms, due_ms) in [(70, 250), (100, 220), (320, 0), (999, 0)] {
        assert_eq!(holder.due_in_ns(at(ms)), due_ms * MS, "{ms}");
    }
}

#[test]
fn an_expired_lease_is_not_revived_by_the_view_catching_up() {
    struct At(Reading);
    impl LeaseClock for At {
        fn read(&self) -> Reading {
            self.0
        }
    }
    let mut holder = holder();
    let nonce = ask(&mut holder, 0);
    assert_eq!(holder.granted(at(10), &grant(nonce, 2)), Received::Waits { until: 2 });
    holder.published(2, false);
    assert_eq!(holder.gate().enter(&At(at(999)), |_| ()), Some(()));
    assert_eq!(holder.gate().enter(&At(at(1_000)), |_| ()), None);
}
