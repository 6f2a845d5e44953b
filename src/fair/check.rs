//! What every fair queue of the node has to pass, whatever its size; each has a test that calls
//! this.

use std::{
    fmt::Debug,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{Full, Gate, Turns};

/// How many requests an attacker has waiting.
const ATTACKS: usize = 2_000;

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// While `attacker` holds all that it can, `other` is let in.
pub fn gate_is_shared<K: Ord + Copy + Debug>(gate: &Gate<K>, attacker: K, other: K) {
    let held: Vec<_> = std::iter::from_fn(|| gate.enter(attacker).ok()).collect();
    assert!(!held.is_empty());
    assert_eq!(gate.enter(attacker).err(), Some(Full::Share));
    assert!(gate.enter(other).is_ok(), "shut out by {} of another", held.len());
}

/// While `attacker` holds all that it can and has much more waiting, `other` is served at once.
pub fn turns_are_shared<K: Ord + Copy + Debug>(turns: &Turns<K>, attacker: K, other: K) {
    let mut attacks: Vec<_> = (0..ATTACKS).map(|_| Box::pin(turns.take(attacker, 1))).collect();
    let held: Vec<_> = attacks.iter_mut().filter_map(|attack| poll(attack.as_mut())).collect();
    assert!(!held.is_empty() && held.len() < ATTACKS, "{} of {ATTACKS} are served", held.len());
    let mut turn = pin!(turns.take(other, 1));
    assert!(poll(turn.as_mut()).is_some(), "behind {ATTACKS} of another");
}
