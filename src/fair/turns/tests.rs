//! The order in which turns are handed out.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;

use super::*;

type Waiting<'a> = (u32, Pin<Box<dyn Future<Output = Turn<u32>> + 'a>>);

fn poll(future: &mut Pin<Box<dyn Future<Output = Turn<u32>> + '_>>) -> Option<Turn<u32>> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

fn wait(turns: &Turns<u32>, key: u32, cost: u64) -> Waiting<'_> {
    let mut waiting: Pin<Box<dyn Future<Output = Turn<u32>>>> = Box::pin(turns.take(key, cost));
    assert!(poll(&mut waiting).is_none(), "{key} waits");
    (key, waiting)
}

/// Who is served, one after the other, when each turn ends before the next begins.
fn order(mut held: Turn<u32>, mut waiting: Vec<Waiting<'_>>) -> Vec<u32> {
    let mut served = Vec::new();
    while !waiting.is_empty() {
        drop(held);
        let woken = waiting
            .iter_mut()
            .enumerate()
            .find_map(|(place, (key, future))| poll(future).map(|turn| (place, *key, turn)));
        let (place, key, turn) = woken.expect("a slot was freed and somebody waits");
        drop(waiting.remove(place));
        served.push(key);
        held = turn;
    }
    served
}

fn alone(turns: &Turns<u32>, key: u32) -> Turn<u32> {
    let mut first: Pin<Box<dyn Future<Output = Turn<u32>> + '_>> = Box::pin(turns.take(key, 1));
    poll(&mut first).expect("a free slot")
}

#[test]
fn whoever_comes_after_a_thousand_of_another_is_served_next_but_one() {
    let turns = Turns::new(Supply::new(1, 1));
    let held = alone(&turns, 1);
    let mut waiting: Vec<_> = (0..1_000).map(|_| wait(&turns, 1, 1)).collect();
    waiting.extend((0..3).map(|_| wait(&turns, 2, 1)));
    let served = order(held, waiting);
    let places: Vec<_> = (0..served.len()).filter(|place| served[*place] == 2).collect();
    assert_eq!(places, [0, 2, 4], "in turn with the one who asks more");
}

#[test]
fn a_turn_that_costs_more_is_followed_by_more_of_the_others() {
    let turns = Turns::new(Supply::new(1, 1));
    let held = alone(&turns, 9);
    let mut waiting: Vec<_> = (0..4).map(|_| wait(&turns, 1, 10)).collect();
    waiting.extend((0..40).map(|_| wait(&turns, 2, 1)));
    let served = order(held, waiting);
    let of_the_first: Vec<_> = (0..served.len()).filter(|place| served[*place] == 1).collect();
    assert_eq!(of_the_first[0], 0);
    for pair in of_the_first.windows(2) {
        assert!((10..=12).contains(&(pair[1] - pair[0])), "{of_the_first:?}");
    }
}

#[test]
fn what_one_owes_is_not_forgotten_by_leaving() {
    let turns = Turns::new(Supply::new(1, 1));
    let held = alone(&turns, 9);
    let dear = wait(&turns, 1, 100);
    let others: Vec<_> = (0..30).map(|_| wait(&turns, 2, 1)).collect();
    drop(held);
    let (_, mut future) = dear;
    let held = poll(&mut future).expect("the first in order");
    drop(future);
    let mut waiting = others;
    waiting.push(wait(&turns, 1, 1));
    let served = order(held, waiting);
    assert_eq!(served.iter().position(|key| *key == 1), Some(30), "after all that it held up");
}

#[test]
fn one_who_takes_all_leaves_a_slot_free() {
    for (total, of_one, share) in [(2, 2, 1), (4, 4, 3), (8, 3, 3), (1, 1, 1)] {
        let turns = Turns::new(Supply::new(total, of_one));
        let held: Vec<_> = (0..share).map(|_| alone(&turns, 1)).collect();
        let waiting = wait(&turns, 1, 1);
        if total > 1 {
            drop(alone(&turns, 2));
        }
        drop(held);
        let (_, mut future) = waiting;
        assert!(poll(&mut future).is_some(), "{total} slots");
    }
}

#[test]
fn whoever_stops_waiting_leaves_nothing_behind() {
    let turns = Turns::new(Supply::new(1, 1));
    let held = alone(&turns, 1);
    let gone = wait(&turns, 2, 1);
    let (_, mut next) = wait(&turns, 3, 1);
    drop(gone);
    assert_eq!(turns.waiting(), 1);
    drop(held);
    // Woken and then dropped without a look: the slot is free again.
    let (_, after) = wait(&turns, 4, 1);
    let woken = poll(&mut next).expect("its turn");
    drop(woken);
    drop(after);
    let queue = turns.queue();
    assert_eq!((queue.held.total, queue.lanes.len(), queue.waiting.len()), (0, 0, 0));
    assert!(queue.ahead.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes, waits, leaves and is served: no slot is lost or given twice, none is idle
    /// while somebody can have it, and nothing is remembered of nobody.
    #[test]
    fn slots_are_neither_lost_nor_invented(
        total in 1usize..5,
        steps in prop::collection::vec((0u32..4, 1u64..20, 0u8..4), 1..120),
    ) {
        let turns = Turns::new(Supply::new(total, total));
        let mut waiting: Vec<Waiting<'_>> = Vec::new();
        let mut held = Vec::new();
        for (key, cost, what) in steps {
            match what {
                0 | 1 => waiting.push((key, Box::pin(turns.take(key, cost)))),
                2 if !waiting.is_empty() => drop(waiting.remove(key as usize % waiting.len())),
                _ if !held.is_empty() => drop(held.remove(key as usize % held.len())),
                _ => {}
            }
            let mut still = Vec::new();
            for (key, mut future) in waiting {
                match poll(&mut future) {
                    Some(turn) => held.push(turn),
                    None => still.push((key, future)),
                }
            }
            waiting = still;
            let queue = turns.queue();
            prop_assert!(held.len() <= total);
            prop_assert_eq!(queue.held.total, held.len());
            let can_have = waiting.iter().any(|(key, _)| queue.held.can_have_turn(key));
            prop_assert!(!can_have, "somebody waits for a slot that is free");
        }
        drop(waiting);
        drop(held);
        let queue = turns.queue();
        prop_assert_eq!((queue.held.total, queue.lanes.len(), queue.ahead.len()), (0, 0, 0));
    }
}
