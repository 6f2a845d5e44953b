//! Clients that verify. Must not know who writes.

use std::time::Duration;

use tokio::time::sleep;

use super::World;

/// Tokens in a batch: the most that the API takes.
const BATCH: usize = 100;
/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(25);

/// Verifies at one node until the load stops: batches, single tokens, now and then an API key.
pub async fn verify(world: World, place: usize, mut rng: fastrand::Rng) {
    while !world.stopped() {
        let node = world.node(place);
        match rng.u8(0..10) {
            0 => {
                let key = rng.choice(world.pool().keys.iter()).cloned();
                if let Some(key) = key {
                    world.ask_key(node, key.number, &key.text).await;
                }
            }
            1..4 => {
                let one = world.pool().sample(1, &mut rng);
                world.ask(node, &one).await;
            }
            _ => {
                let batch = world.pool().sample(BATCH, &mut rng);
                world.ask(node, &batch).await;
            }
        }
        sleep(PAUSE).await;
    }
}
