//! Deliveries: outcomes count once, what fails is owed, and the position waits for nothing else.

use super::{
    super::*,
    webhook::{wh, world},
    world::*,
};
use crate::limits;

const ENOUGH_EVENTS: u8 = 120;

/// A world with one endpoint and events behind its creation, and the place of the first.
fn busy_world() -> (World, u64) {
    let mut world = world();
    for n in 10..10 + ENOUGH_EVENTS {
        world.events(ALICE, Action::CreateAgent(new_agent(n)));
    }
    let first = world.state.outboxes[&wh(1)].progress.position + 1;
    (world, first)
}

fn attempt(
    seq: u64,
    number: u32,
    result: AttemptResult,
    retry_at: Option<Millis>,
) -> DeliveryAttempt {
    DeliveryAttempt {
        seq,
        event: EventId::from_ulid(seq.into()),
        event_name: "agent.created".into(),
        number,
        at: T0,
        latency_ms: 5,
        result,
        retry_at,
    }
}

fn good(seq: u64, number: u32) -> DeliveryAttempt {
    attempt(seq, number, AttemptResult::Delivered(204), None)
}

fn bad(seq: u64, number: u32, retry_at: Option<Millis>) -> DeliveryAttempt {
    let failure = FailedAttempt {
        fault: DeliveryFault::Status,
        status: Some(500),
        body: Some("oops".into()),
    };
    attempt(seq, number, AttemptResult::Failed(failure), retry_at)
}

fn record(world: &mut World, position: u64, attempts: Vec<DeliveryAttempt>) -> Vec<&'static str> {
    let progress = EndpointProgress { webhook: wh(1), position, attempts };
    world.events(NODE, Action::RecordDeliveries(RecordDeliveries { endpoints: vec![progress] }))
}

fn outbox(world: &World) -> &Outbox {
    &world.state.outboxes[&wh(1)]
}

#[test]
fn an_outcome_counts_once_however_often_it_is_told() {
    let (mut world, first) = busy_world();
    let told = vec![bad(first, 1, Some(T0 + 5)), good(first + 1, 1)];
    assert_eq!(record(&mut world, first + 1, told.clone()), ["-"], "it is not audited");
    let once = outbox(&world).clone();
    assert_eq!(once.open[&first], OpenRetry { attempts: 1, due_at: T0 + 5 });
    assert_eq!(record(&mut world, first + 1, told), [""; 0]);
    assert_eq!(*outbox(&world), once);
    for stale in [bad(first, 1, None), bad(first, 3, None), good(first + 1, 2)] {
        record(&mut world, 0, vec![stale]);
        assert_eq!(*outbox(&world), once, "an attempt that is not the next one");
    }
    record(&mut world, 0, vec![good(first, 2)]);
    assert!(outbox(&world).open.is_empty());
}

#[test]
fn the_position_moves_over_what_was_dealt_with_ahead_of_it() {
    let (mut world, first) = busy_world();
    record(&mut world, first - 1, vec![good(first + 2, 1), bad(first + 1, 1, Some(T0))]);
    assert_eq!(outbox(&world).progress.position, first - 1);
    assert!(outbox(&world).is_dealt_with(first + 2) && !outbox(&world).is_dealt_with(first));
    record(&mut world, first - 1, vec![good(first, 1)]);
    assert_eq!(outbox(&world).progress.position, first + 2);
    assert!(outbox(&world).progress.ahead.is_empty());
    let end = world.state.chain_end(ALICE_TENANT);
    record(&mut world, u64::MAX, vec![good(end + 1, 1)]);
    assert_eq!(outbox(&world).progress.position, end, "never beyond what has happened");
}

#[test]
fn a_delivery_fails_when_there_is_no_next_attempt_and_can_be_asked_for_again() {
    let (mut world, first) = busy_world();
    record(&mut world, first, vec![bad(first, 1, None)]);
    let failed = outbox(&world).log[0].clone();
    assert_eq!((failed.status, failed.attempts), (DeliveryStatus::Failed, 1));
    assert_eq!(failed.response_body.as_deref(), Some("oops"));
    assert!(outbox(&world).open.is_empty());
    let ask = RetryDelivery { webhook: wh(1), delivery: failed.id };
    world.events(ALICE, Action::RetryDelivery(ask));
    assert_eq!(outbox(&world).open[&first], OpenRetry { attempts: 1, due_at: T0 });
    assert_eq!(outbox(&world).log[0].status, DeliveryStatus::Pending);
    record(&mut world, first, vec![good(first, 2)]);
    let delivered = &outbox(&world).log[0];
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 2));
    assert_eq!((delivered.id, &delivered.response_body), (failed.id, &None));
    assert_eq!(outbox(&world).log.len(), 1, "a delivery is logged once");
    let unknown = RetryDelivery { webhook: wh(1), delivery: DeliveryId([9; 16]) };
    let missing = Refusal::NotFound(Kind::Delivery(()));
    let other = Refusal::NotFound(Kind::Webhook(()));
    world.refuses(vec![
        ("no such delivery", ALICE, Action::RetryDelivery(unknown), missing),
        ("another tenant", BOB, Action::RetryDelivery(ask), other),
    ]);
}

#[test]
fn the_last_hundred_deliveries_are_kept() {
    let (mut world, first) = busy_world();
    let last = first + u64::from(ENOUGH_EVENTS) - 1;
    record(&mut world, last, (first..=last).map(|seq| good(seq, 1)).collect());
    let kept: Vec<u64> = outbox(&world).log.iter().map(|delivery| delivery.seq).collect();
    assert_eq!(kept, (last - 99..=last).collect::<Vec<_>>());
}

#[test]
fn five_days_of_nothing_but_failures_disable_an_endpoint_and_say_so() {
    let patience = limits::WEBHOOK_FAILING_MAX_S * 1000;
    let (mut world, first) = busy_world();
    record(&mut world, first, vec![bad(first, 1, Some(T0))]);
    let mut later = world.clone().at(T0 + patience - 1);
    assert_eq!(record(&mut later, first, vec![bad(first, 2, Some(T0))]), ["-"]);
    let mut later = later.at(T0 + patience);
    let names = record(&mut later, first, vec![bad(first, 3, Some(T0))]);
    assert_eq!(names, ["-", "webhook.disabled"]);
    let disabled = later.state.webhooks[&wh(1)].disabled;
    assert_eq!(disabled, Some((DisabledReason::Failing, T0 + patience)));
    assert_eq!(record(&mut later, first, vec![bad(first, 4, Some(T0))]), ["-"], "once");
    let ask = RetryDelivery { webhook: wh(1), delivery: outbox(&later).log[0].id };
    let refusal = Refusal::WebhookDisabled(());
    later.refuses(vec![("disabled", ALICE, Action::RetryDelivery(ask), refusal)]);
    // One success in between, and the days are counted anew.
    record(&mut world, first + 1, vec![good(first + 1, 1), bad(first + 2, 1, Some(T0))]);
    let mut later = world.at(T0 + patience - 1);
    assert_eq!(record(&mut later, first, vec![good(first, 2)]), ["-"]);
    let mut later = later.at(T0 + patience);
    assert_eq!(record(&mut later, first, vec![bad(first + 2, 2, Some(T0))]), ["-"]);
}

#[test]
fn what_is_larger_than_what_is_kept_is_refused_and_an_endpoint_that_is_gone_passed_over() {
    let (mut world, first) = busy_world();
    let told = |attempts| {
        let progress = EndpointProgress { webhook: wh(1), position: 0, attempts };
        Action::RecordDeliveries(RecordDeliveries { endpoints: vec![progress] })
    };
    let mut huge = bad(first, 1, None);
    if let AttemptResult::Failed(failure) = &mut huge.result {
        failure.body = Some("x".repeat(limits::WEBHOOK_BODY_KEPT_BYTES + 1));
    }
    let many = vec![good(first, 1); limits::WEBHOOK_RECORD_ATTEMPTS_MAX + 1];
    for attempts in [vec![huge], many] {
        let came = world.state.decide(T0, &command(NODE, told(attempts)));
        assert_eq!(invalid_field(came), "attempts");
    }
    let twice =
        (0..2).map(|_| EndpointProgress { webhook: wh(1), position: 0, attempts: Vec::new() });
    let twice = Action::RecordDeliveries(RecordDeliveries { endpoints: twice.collect() });
    assert_eq!(invalid_field(world.state.decide(T0, &command(NODE, twice))), "endpoints");
    world.events(ALICE, Action::DeleteWebhook(wh(1)));
    assert_eq!(record(&mut world, first, vec![good(first, 1)]), [""; 0]);
    assert!(world.state.outboxes.is_empty());
}

#[test]
fn the_open_retries_are_bounded() {
    let (mut world, first) = busy_world();
    let full = Outbox {
        open: (10_000..10_000 + limits::WEBHOOK_OPEN_RETRIES_HARD_MAX as u64)
            .map(|seq| (seq, OpenRetry { attempts: 1, due_at: T0 }))
            .collect(),
        ..outbox(&world).clone()
    };
    world.state.put_outbox(wh(1), std::sync::Arc::new(full));
    record(&mut world, first, vec![bad(first, 1, Some(T0))]);
    assert_eq!(outbox(&world).open.len(), limits::WEBHOOK_OPEN_RETRIES_HARD_MAX);
    let failed = &outbox(&world).log[0];
    assert_eq!(failed.status, DeliveryStatus::Failed);
    let ask = RetryDelivery { webhook: wh(1), delivery: failed.id };
    let most = limits::WEBHOOK_OPEN_RETRIES_MAX as u64;
    let refusal = Refusal::too_many("open retries of a webhook", most);
    world.refuses(vec![("full", ALICE, Action::RetryDelivery(ask), refusal)]);
}
