//! A backup may be asked of any node, and holds everything that was acknowledged at any other.

use authrai_cluster::backup::check;

use crate::harness::{Cluster, DEADLINE};
use crate::toy::{Counter, add};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_by_a_follower_holds_what_the_leader_has_acknowledged() {
    let cluster = Cluster::start(3).await;
    let handles: Vec<_> =
        (1..=3).map(|id| cluster.places[&id].node.as_ref().expect("it runs").handle()).collect();
    let mut id = 0;
    for _ in 0..10 {
        for handle in &handles {
            id += 1;
            handles[0].propose(add(1, id), DEADLINE).await.expect("commits");
            let mut backup = handle.backup("test".into(), DEADLINE).await.expect("begins");
            let mut bytes = Vec::new();
            while let Some(piece) = backup.next().await {
                bytes.extend(piece.expect("it is not broken off"));
            }
            let mut machine = Counter::default();
            check(bytes.as_slice(), &mut machine).expect("it is whole");
            assert!(machine.state.ids.contains(&id), "{id} was acknowledged");
        }
    }
}
