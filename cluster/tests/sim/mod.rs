//! A deterministic simulation of whole nodes: this crate's code on a network, a disk and clocks that
//! a seed draws.
//!
//! Real: the consensus engine, the ordered writer and the log, marks, journal, segments and
//! snapshots with their frames and checksums, recovery, the lease protocol and its driver, joining,
//! forwarding, back-filling, and both ends of every request. Simulated: tasks and threads
//! ([`executor`], [`tasks`]), time and clocks, sled beneath the rows ([`rows`]: its promises are
//! assumed), files ([`disk`], [`files`]), and TLS, TCP and HTTP/2 ([`network`]). Left out: the
//! background check of the journal.
//!
//! Everything runs on one thread, on paused time, and whatever is drawn comes from the seed, so the
//! same seed gives the same run to the last byte. A failure prints the command that replays it.
//!
//! - `AUTHRAI_SIM_SEEDS=N`: that many seeds, from `AUTHRAI_SIM_SEED` or 1 on.
//! - `AUTHRAI_SIM_SEED=S`: that seed alone, and its last messages and disk operations.

mod clients;
mod clocks;
mod cluster;
#[path = "../lease_model/dice.rs"]
mod dice;
pub(crate) mod disk;
mod executor;
mod faults;
mod files;
mod history;
pub(crate) mod network;
mod rows;
mod runs;
pub(crate) mod tasks;
mod trace;
mod vault;
pub(crate) mod world;

use std::time::Duration;

use crate::lease::{Boot, Granter, Holder, NodeId, Params, Reading};

/// Whether this thread runs a simulation.
pub(crate) fn runs() -> bool {
    executor::current().is_some()
}

/// The lease clocks of the node that runs.
pub(crate) fn lease_clock() -> Option<Reading> {
    let simulation = executor::current()?;
    Some(simulation.clocks(executor::node())?.reading(simulation.now_ns()))
}

/// The wall clock of the node that runs.
pub(crate) fn wall_ms() -> Option<u64> {
    let simulation = executor::current()?;
    Some(simulation.clocks(executor::node())?.wall_ms(simulation.now_ns()))
}

/// Fills `bytes` from the seed; false outside a simulation.
pub(crate) fn draw(bytes: &mut [u8]) -> bool {
    let Some(simulation) = executor::current() else { return false };
    simulation.chance(|dice| bytes.iter_mut().for_each(|byte| *byte = dice.below(256) as u8));
    true
}

/// The two halves of the lease protocol, with the rules of the run.
pub(crate) fn leases(params: Params, node: NodeId, boot: Boot) -> Option<(Holder, Granter)> {
    let rules = executor::current()?.world.rules();
    let holder = Holder::with_rules(rules, params, node, boot);
    Some((holder, Granter::with_rules(rules, params, node, boot)))
}

/// What a write and its sync take.
pub(crate) async fn disk_takes_its_time() {
    let Some(simulation) = executor::current() else { return };
    let ms =
        simulation.chance(|dice| if dice.chance(50) { dice.below(200) } else { dice.below(4) });
    tokio::time::sleep(Duration::from_millis(ms as u64)).await;
}
