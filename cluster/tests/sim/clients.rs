//! Clients: they issue, revoke, verify and read at whichever node, and note what they were told.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::runs::Mutant;
use super::vault::Command;

/// How long a client waits for a write or a read.
const DEADLINE: Duration = Duration::from_secs(3);
/// Verifications go to keys among this many of the newest.
const RECENT: usize = 24;

/// One client, until `until`.
pub async fn client(cluster: Cluster, until: Instant) {
    while Instant::now() < until {
        let (pause, what, node) = cluster.simulation().chance(|dice| {
            let ids = cluster.ids();
            (dice.below(40), dice.below(200), ids[dice.below(ids.len())])
        });
        sleep(Duration::from_millis(pause as u64)).await;
        match what {
            0..30 => issue(&cluster, node).await,
            30..50 => revoke(&cluster, node).await,
            50..56 => read(&cluster, node).await,
            56..57 => fill(&cluster, node).await,
            _ => verify(&cluster, node).await,
        }
    }
}

/// A key that was issued, rather a new one.
fn some_key(cluster: &Cluster) -> Option<u64> {
    let history = cluster.history();
    let recent = &history.issued[history.issued.len().saturating_sub(RECENT)..];
    cluster.simulation().chance(|dice| recent.get(dice.below(recent.len().max(1))).copied())
}

async fn issue(cluster: &Cluster, node: u64) {
    let (key, asked) = {
        let mut history = cluster.history();
        (history.fresh_key(), history.now())
    };
    let command = Command::Issue { key };
    let work = |handle: authrai_cluster::Handle<_>, _| async move {
        handle.propose(command, DEADLINE).await
    };
    let answer = cluster.on(node, work).await;
    let mut history = cluster.history();
    match answer {
        Some(Ok(committed)) => {
            history.acked(asked, committed.index);
            history.issued.push(key);
            history.count("issues answered");
        }
        Some(Err(_)) => history.count("issues refused"),
        None => history.count("calls to a node that was down"),
    }
}

async fn fill(cluster: &Cluster, node: u64) {
    let command = Command::Fill { records: 2_500 };
    let work = |handle: authrai_cluster::Handle<_>, _| async move {
        handle.propose(command, DEADLINE).await
    };
    if let Some(Ok(_)) = cluster.on(node, work).await {
        cluster.history().count("fills answered");
    }
}

async fn revoke(cluster: &Cluster, node: u64) {
    let Some(key) = some_key(cluster) else { return };
    let asked = cluster.history().now();
    let early = cluster.mutant() == Some(Mutant::RevokeAnsweredEarly);
    let command = Command::Revoke { key };
    let work = |handle: authrai_cluster::Handle<_>, _| async move {
        if early {
            handle.propose(command, DEADLINE).await
        } else {
            handle.propose_everywhere(command, DEADLINE).await
        }
    };
    let answer = cluster.on(node, work).await;
    let mut history = cluster.history();
    match answer {
        Some(Ok(committed)) => {
            history.acked(asked, committed.index);
            history.revoke_acked(key);
            history.count("revokes answered");
        }
        Some(Err(_)) => history.count("revokes refused"),
        None => history.count("calls to a node that was down"),
    }
}

async fn verify(cluster: &Cluster, node: u64) {
    let Some(key) = some_key(cluster) else { return };
    let revoked = cluster.history().is_revoked(key);
    let unasked = cluster.mutant() == Some(Mutant::LeaseNotAsked);
    let pauses = cluster.simulation().chance(|dice| [dice.below(2), dice.below(2)]);
    let work = move |handle: authrai_cluster::Handle<_>, view: super::vault::View| async move {
        let [before, between] = pauses;
        for _ in 0..before {
            tokio::task::yield_now().await;
        }
        if !unasked && !handle.may_serve() {
            return None;
        }
        // The node may be paused here.
        for _ in 0..between {
            tokio::task::yield_now().await;
        }
        let state = view.lock().expect("not poisoned").1.clone();
        Some(state.keys.get(&key) == Some(&false))
    };
    let answer = cluster.on(node, work).await;
    let mut history = cluster.history();
    match answer {
        Some(Some(valid)) => {
            history.count("verifications answered");
            if valid && revoked {
                history
                    .violates(format!("node {node} says that key {key} is valid after its revoke"));
            }
        }
        Some(None) => history.count("verifications refused"),
        None => history.count("calls to a node that was down"),
    }
}

async fn read(cluster: &Cluster, node: u64) {
    let before = cluster.history().highest();
    let work = |handle: authrai_cluster::Handle<_>, view: super::vault::View| async move {
        let index = handle.read_index(DEADLINE).await.ok()?;
        Some((index, view.lock().expect("not poisoned").0))
    };
    let Some(Some((index, seen))) = cluster.on(node, work).await else { return };
    let mut history = cluster.history();
    history.count("reads answered");
    if index < before || seen < index {
        history.violates(format!("a read at {index} showed {seen} after {before} was answered"));
    }
}
