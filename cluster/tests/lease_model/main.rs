//! The lease protocol under every misfortune it must bear, drawn at random from a seed.
mod clocks;
mod dice;
mod mutant;
mod node;
mod raft;
mod service;
mod verify;
mod world;

use mutant::Mutant;
use world::World;

#[test]
fn explore() {
    let runs: u64 =
        std::env::var("AUTHRAI_MODEL_RUNS").ok().and_then(|t| t.parse().ok()).unwrap_or(20_000);
    for mutant in [Mutant::None].into_iter().chain(Mutant::all()) {
        let start = std::time::Instant::now();
        let mut first = None;
        let mut found = 0;
        let (mut answered, mut acked) = (0, 0);
        for seed in 0..runs {
            let outcome = World::run(seed, mutant, false);
            answered += outcome.answered;
            acked += u64::from(outcome.acked.count_ones());
            if outcome.violation.is_some() {
                found += 1;
                first.get_or_insert(seed);
            }
        }
        println!(
            "{:24} first {first:?} found {found} of {runs}; answered {answered} acked {acked} {:?}",
            mutant.name(),
            start.elapsed()
        );
    }
}
