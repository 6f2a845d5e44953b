//! Webhook endpoints: what is created, changed, rotated, disabled.

use std::collections::BTreeSet;

use super::{super::*, world::*};
use crate::limits;

pub(crate) fn wh(n: u128) -> WebhookId {
    WebhookId::from_ulid(n)
}

pub(crate) fn new_webhook(n: u8) -> CreateWebhook {
    CreateWebhook {
        id: wh(n.into()),
        url: "https://a.example/hook?token=secret".into(),
        events: BTreeSet::from(["*".into()]),
        description: None,
        sealed_secret: vec![n; 72],
    }
}

fn update(n: u128) -> UpdateWebhook {
    UpdateWebhook { id: wh(n), url: None, events: None, description: None, enabled: None }
}

/// A world with one endpoint of Alice's.
pub(crate) fn world() -> World {
    let mut world = World::new();
    world.events(ALICE, Action::CreateWebhook(new_webhook(1)));
    world
}

fn rotate(version: u32, grace_s: u64) -> Action {
    let secret = SealedSecret { version, sealed: vec![version as u8 + 100; 72] };
    Action::RotateWebhookSecret(RotateWebhookSecret { id: wh(1), secret, grace_s })
}

#[test]
fn an_endpoint_starts_after_what_has_happened_and_after_its_own_creation() {
    let mut world = World::new();
    let before = world.state.chain_end(ALICE_TENANT);
    assert!(before > 0, "something has happened");
    let names = world.events(ALICE, Action::CreateWebhook(new_webhook(1)));
    assert_eq!(names, ["webhook.created"]);
    assert_eq!(world.state.outboxes[&wh(1)].progress.position, before + 1);
    let again = world.ask(ALICE, Action::CreateWebhook(new_webhook(1))).expect("as before");
    assert_eq!(again.1, [""; 0], "proposed again, it is there once");
}

#[test]
fn what_is_no_endpoint_is_refused_by_field() {
    let world = World::new();
    let faulty = |change: &dyn Fn(&mut CreateWebhook)| {
        let mut new = new_webhook(1);
        change(&mut new);
        invalid_field(world.state.decide(T0, &command(ALICE, Action::CreateWebhook(new))))
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(faulty(&|new| new.url.clear()), "url");
    assert_eq!(faulty(&|new| new.url = "x".repeat(limits::WEBHOOK_URL_MAX_BYTES + 1)), "url");
    assert_eq!(faulty(&|new| new.url.push('\n')), "url");
    assert_eq!(faulty(&|new| new.events.clear()), "events");
    assert_eq!(faulty(&|new| new.events = names(&["*", "token.issued"])), "events");
    assert_eq!(faulty(&|new| new.events = names(&["token.isued"])), "events");
    assert_eq!(faulty(&|new| new.description = Some("x".repeat(1_001))), "description");
    assert_eq!(faulty(&|new| new.sealed_secret.clear()), "secret");
    assert_eq!(faulty(&|new| new.sealed_secret = vec![0; 300]), "secret");
}

#[test]
fn an_organisation_has_a_bounded_number_of_endpoints_in_both_environments_together() {
    let mut world = World::new();
    let most = limits::WEBHOOKS_PER_ORGANIZATION_MAX as u8;
    for n in 0..most {
        let actor = if n % 2 == 0 { ALICE } else { ALICE_TEST };
        world.events(actor, Action::CreateWebhook(new_webhook(n)));
    }
    let refusal = Refusal::too_many("webhooks in this organisation", most.into());
    let more = || Action::CreateWebhook(new_webhook(most));
    for actor in [ALICE, ALICE_TEST] {
        world.refuses(vec![("one more", actor, more(), refusal.clone())]);
    }
    world.events(BOB, more());
}

#[test]
fn an_endpoint_is_its_tenants_own() {
    let world = world();
    let missing = || Refusal::NotFound(Kind::Webhook(()));
    for (who, stranger) in [("another organisation", BOB), ("another environment", ALICE_TEST)] {
        world.refuses(vec![
            (who, stranger, Action::UpdateWebhook(update(1)), missing()),
            (who, stranger, Action::DeleteWebhook(wh(1)), missing()),
            (who, stranger, rotate(2, 0), missing()),
            (
                who,
                stranger,
                Action::CreateWebhook(new_webhook(1)),
                Refusal::IdTaken(Kind::Webhook(())),
            ),
        ]);
    }
}

#[test]
fn a_deleted_endpoint_does_not_come_back_with_a_command_that_is_proposed_again() {
    let mut world = world();
    assert_eq!(world.events(ALICE, Action::DeleteWebhook(wh(1))), ["webhook.deleted"]);
    assert!(world.state.outboxes.is_empty());
    let again = Action::CreateWebhook(new_webhook(1));
    world.refuses(vec![("gone", ALICE, again, Refusal::IdTaken(Kind::Webhook(())))]);
}

#[test]
fn a_rotation_names_the_next_version_and_the_old_secret_signs_until_its_time() {
    let mut world = world();
    let moved = Refusal::WebhookSecretMoved(());
    world.refuses(vec![
        ("the present version", ALICE, rotate(1, 0), moved.clone()),
        ("a version left out", ALICE, rotate(3, 0), moved),
    ]);
    assert_eq!(world.events(ALICE, rotate(2, 60)), ["webhook.secret_rotated"]);
    assert_eq!(world.events(ALICE, rotate(2, 60)), [""; 0], "proposed again");
    let versions = |world: &World, at| -> Vec<u32> {
        world.state.webhooks[&wh(1)].secrets_at(at).map(|secret| secret.version).collect()
    };
    assert_eq!(versions(&world, T0 + 59_999), [2, 1]);
    assert_eq!(versions(&world, T0 + 60_000), [2]);
    let mut world = world.at(T0 + 60_000);
    assert!(world.state.is_tick_due(T0 + 60_000));
    world.events(NODE, Action::Tick(()));
    assert_eq!(world.state.webhooks[&wh(1)].previous, None, "the old secret is forgotten");
    world.events(ALICE, rotate(3, 0));
    assert_eq!(versions(&world, T0), [3]);
}

#[test]
fn what_happens_while_an_endpoint_is_disabled_is_not_sent_later_and_what_happened_before_is() {
    let mut world = world();
    let off = Action::UpdateWebhook(UpdateWebhook { enabled: Some(false), ..update(1) });
    let on =
        UpdateWebhook { enabled: Some(true), description: Some(Some("d".into())), ..update(1) };
    world.events(ALICE, Action::CreateAgent(new_agent(8)));
    let before = world.state.chain_end(ALICE_TENANT);
    assert_eq!(world.events(ALICE, off.clone()), ["webhook.disabled"]);
    assert_eq!(world.events(ALICE, off), [""; 0]);
    let disabled = world.state.webhooks[&wh(1)].disabled;
    assert_eq!(disabled, Some((DisabledReason::Requested, T0)));
    world.events(ALICE, Action::CreateAgent(new_agent(9)));
    let names = world.events(ALICE, Action::UpdateWebhook(on));
    assert_eq!(names, ["webhook.updated", "webhook.enabled"]);
    let end = world.state.chain_end(ALICE_TENANT);
    let webhook = &world.state.webhooks[&wh(1)];
    let wanted: Vec<u64> =
        (before..=end + 1).filter(|seq| webhook.wants(*seq, "agent.created")).collect();
    assert_eq!(wanted, [before, end + 1]);
    assert!(world.state.outboxes[&wh(1)].progress.position < before, "nothing was sent yet");
}

#[test]
fn more_changes_than_are_remembered_send_rather_too_much() {
    let mut world = world();
    world.events(ALICE, Action::CreateAgent(new_agent(8)));
    let before = world.state.chain_end(ALICE_TENANT);
    for n in 0..3 * limits::WEBHOOK_PAST_CHOICES_MAX {
        let enabled = Some(n % 2 == 1);
        world.events(ALICE, Action::UpdateWebhook(UpdateWebhook { enabled, ..update(1) }));
    }
    let webhook = &world.state.webhooks[&wh(1)];
    assert_eq!(webhook.past.len(), limits::WEBHOOK_PAST_CHOICES_MAX);
    assert!(webhook.wants(before, "agent.created"));
}

#[test]
fn an_event_of_an_endpoint_shows_neither_its_secret_nor_that_of_its_url() {
    let world = world();
    let webhook = world.state.webhooks[&wh(1)].clone();
    let outbox = world.state.outboxes[&wh(1)].clone();
    for fact in [
        Fact::WebhookCreated(webhook.clone(), outbox.clone()),
        Fact::WebhookUpdated(webhook.clone(), vec!["url"]),
        Fact::WebhookEnabled(webhook.clone(), outbox),
        Fact::WebhookDisabled(webhook.clone()),
        Fact::WebhookSecretRotated(webhook.clone()),
        Fact::WebhookDeleted(webhook, T0),
    ] {
        let text = serde_json::Value::from(fact.data()).to_string();
        assert!(text.contains(&wh(1).to_string()), "{text}");
        assert!(!text.contains("secret\"") && !text.contains("token="), "{text}");
    }
}

#[test]
fn an_event_is_judged_by_what_was_wanted_when_it_happened() {
    let mut world = world();
    let choose = |names: &[&str]| {
        let events = Some(names.iter().map(|name| (*name).to_owned()).collect());
        Action::UpdateWebhook(UpdateWebhook { events, ..update(1) })
    };
    world.events(ALICE, Action::CreateAgent(new_agent(9)));
    let before = world.state.chain_end(ALICE_TENANT);
    world.events(ALICE, choose(&["agent.created"]));
    let webhook = world.state.webhooks[&wh(1)].clone();
    assert!(webhook.wants(before, "token.issued") && !webhook.wants(before + 1, "token.issued"));
    assert!(webhook.wants(before + 1, "agent.created"));
    // Changed again before anything was sent: whatever it wanted in between.
    world.events(ALICE, choose(&["agent.paused"]));
    let webhook = world.state.webhooks[&wh(1)].clone();
    assert!(webhook.wants(before, "token.issued"));
    // And once that is sent, only what it wanted last.
    let sent = EndpointProgress { webhook: wh(1), position: before + 2, attempts: Vec::new() };
    let sent = Action::RecordDeliveries(RecordDeliveries { endpoints: vec![sent] });
    world.events(NODE, sent);
    world.events(ALICE, choose(&["agent.revoked"]));
    let webhook = world.state.webhooks[&wh(1)].clone();
    let last = world.state.chain_end(ALICE_TENANT);
    assert!(webhook.wants(last - 1, "agent.paused") && !webhook.wants(last - 1, "token.issued"));
    assert!(webhook.wants(last, "agent.revoked") && !webhook.wants(last, "agent.paused"));
}

#[test]
fn whoever_subscribes_to_events_may_read_them() {
    let mut world = world();
    let weak = CreateApiKey {
        permissions: [Permission::WebhooksWrite].into_iter().collect(),
        ..new_key(9, 1, Environment::Live)
    };
    world.events(ALICE, Action::CreateApiKey(weak));
    let weak = Actor::ApiKey(key(9));
    let elsewhere = UpdateWebhook { url: Some("https://b.example".into()), ..update(1) };
    let more = UpdateWebhook { events: Some(BTreeSet::from(["*".into()])), ..update(1) };
    let missing = Refusal::Forbidden("this takes the permission audit:read".into());
    world.refuses(vec![
        ("subscribing", weak, Action::CreateWebhook(new_webhook(2)), missing.clone()),
        ("leading it elsewhere", weak, Action::UpdateWebhook(elsewhere), missing.clone()),
        ("asking for more", weak, Action::UpdateWebhook(more), missing),
    ]);
    let mut before = world.clone();
    before.state.level = Level::FIRST;
    before.events(weak, Action::CreateWebhook(new_webhook(2)));
    world.events(weak, rotate(2, 0));
    world.events(weak, Action::DeleteWebhook(wh(1)));
}
