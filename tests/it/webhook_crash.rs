//! A node that is killed in the middle of deliveries: every event arrives, and what arrives twice
//! has the same id.

use std::{collections::BTreeSet, time::Duration};

use authrai::secrets::{KeyKind, Secret};
use futures_util::{StreamExt, stream};

use crate::{
    harness::{DevProcess, text, until},
    receiver::{Manner, Receiver, register},
};

/// How many events: a few hundred by default, more by hand.
fn events() -> usize {
    std::env::var("AUTHRAI_DELIVERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_deliveries_loses_nothing_and_repeats_only_by_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Secret::mint(KeyKind::ApiLive);
    let mut node = DevProcess::start(folder.path(), key.expose());
    node.ready().await;
    let receiver = Receiver::start().await;
    // Slow enough that most deliveries are still to come when the last event has happened.
    let delay = Duration::from_millis(if events() > 1_000 { 40 } else { 120 });
    receiver.answer_with(Manner { delay, ..Manner::status(204) });
    let api = node.caller();
    let (_, secret) = register(&api, &receiver.url(), &["agent.created"]).await;
    let calls = (0..events()).map(|_| {
        let api = api.clone();
        async move { api.agent("told of").await }
    });
    let made: BTreeSet<String> = stream::iter(calls).buffer_unordered(16).collect().await;
    assert_eq!(made.len(), events());
    for share in [4, 2] {
        until("deliveries to be under way", || async {
            (receiver.ids().len() >= events() / share).then_some(())
        })
        .await;
        node.kill();
        let before = receiver.ids().len();
        assert!(before < events(), "the kill came too late: {before} had arrived");
        node.start_again();
        node.ready().await;
    }
    let arrived = receiver.until_arrived(events()).await;
    let told: BTreeSet<_> =
        arrived.iter().map(|one| text(&one.body()["data"], "agent_id")).collect();
    assert_eq!(told, made);
    let ids = receiver.ids();
    assert_eq!(ids.len(), events(), "one id an event");
    let mut bodies = std::collections::BTreeMap::new();
    for one in &arrived {
        assert!(one.is_signed_with(&secret));
        let known = bodies.entry(&one.id).or_insert(&one.raw);
        assert_eq!(*known, &one.raw, "the same id says the same");
    }
    let again = ids.values().filter(|times| **times > 1).count();
    println!("{} events, 2 kills: all arrived, {again} of them twice with the same id", events());
}
