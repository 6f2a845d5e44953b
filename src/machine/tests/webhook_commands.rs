//! Random commands on webhooks: endpoints of few ids, and outcomes of attempts that are due, that are
//! not, and of endpoints that are gone.

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::domain::{tests::world::*, *};

fn id() -> impl Strategy<Value = WebhookId> {
    (1u128..5).prop_map(WebhookId::from_ulid)
}

fn events() -> impl Strategy<Value = BTreeSet<String>> {
    let named = select(vec!["*", "token.issued", "token.denied", "agent.created", "no.such"]);
    vec(named, 0..3).prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just("https://a.example/hook?key=1".to_owned()),
        1 => Just(String::new()),
        1 => Just("x".repeat(3_000)),
    ]
}

/// Commands of a tenant.
pub(super) fn webhooks() -> impl Strategy<Value = Action> {
    let secret = (1u32..5, 0u8..8)
        .prop_map(|(version, bytes)| SealedSecret { version, sealed: vec![bytes; 72] });
    let grace = prop_oneof![Just(0), 1u64..100, Just(u64::MAX)];
    let update = (
        id(),
        option::weighted(0.2, url()),
        option::weighted(0.3, events()),
        option::weighted(0.8, any::<bool>()),
    );
    prop_oneof![
        4 => (id(), url(), events(), 0u8..8).prop_map(|(id, url, events, sealed)| {
            let sealed_secret = vec![sealed; 72];
            Action::CreateWebhook(CreateWebhook {
                id, url, events, description: None, sealed_secret
            })
        }),
        5 => update.prop_map(|(id, url, events, enabled)| {
            Action::UpdateWebhook(UpdateWebhook { id, url, events, description: None, enabled })
        }),
        1 => id().prop_map(Action::DeleteWebhook),
        2 => (id(), secret, grace).prop_map(|(id, secret, grace_s)| {
            Action::RotateWebhookSecret(RotateWebhookSecret { id, secret, grace_s })
        }),
        2 => (id(), 0u8..8).prop_map(|(webhook, delivery)| {
            let delivery = DeliveryId([delivery; 16]);
            Action::RetryDelivery(RetryDelivery { webhook, delivery })
        }),
    ]
}

/// What a node reports.
pub(super) fn outcomes() -> impl Strategy<Value = Action> {
    let result = prop_oneof![
        2 => Just(AttemptResult::Delivered(200)),
        3 => (select(DeliveryFault::ALL.to_vec()), 0usize..1_060).prop_map(|(fault, bytes)| {
            let body = Some("b".repeat(bytes));
            AttemptResult::Failed(FailedAttempt { fault, status: Some(500), body })
        }),
    ];
    let attempt = (0u64..30, 1u32..4, result, option::of(T0..T0 + 60_000)).prop_map(
        |(seq, number, result, retry_at)| DeliveryAttempt {
            seq,
            event: EventId([seq as u8; 16]),
            event_name: "token.issued".into(),
            number,
            at: T0,
            latency_ms: 5,
            result,
            retry_at,
        },
    );
    let progress = (id(), prop_oneof![0u64..30, Just(u64::MAX)], vec(attempt, 0..6))
        .prop_map(|(webhook, position, attempts)| EndpointProgress { webhook, position, attempts });
    vec(progress, 0..3)
        .prop_map(|endpoints| Action::RecordDeliveries(RecordDeliveries { endpoints }))
}

/// Makes a command speak of what is there: a delivery that is logged, the version that comes next, the status that is not.
pub(super) fn made_to_fit(state: &State, action: &mut Action) {
    match action {
        Action::RetryDelivery(asked) => {
            let some = state.outboxes.iter().filter(|(_, outbox)| !outbox.log.is_empty());
            // Rather one that is disabled, which is rare.
            let some = some.max_by_key(|(id, _)| state.webhooks[*id].disabled.is_some());
            if let Some((webhook, outbox)) = some {
                let place = usize::from(asked.delivery.0[0]) % outbox.log.len();
                *asked = RetryDelivery { webhook: *webhook, delivery: outbox.log[place].id };
            }
        }
        Action::UpdateWebhook(change) if change.enabled.is_some() => {
            if let Some(webhook) = state.webhooks.get(&change.id) {
                change.enabled = Some(webhook.disabled.is_some());
            }
        }
        Action::RotateWebhookSecret(change) if change.secret.version > 1 => {
            if let Some(webhook) = state.webhooks.get(&change.id) {
                change.secret.version = webhook.secret.version + 1;
            }
        }
        Action::RecordDeliveries(told) => {
            for progress in &mut told.endpoints {
                let Some(outbox) = state.outboxes.get(&progress.webhook) else { continue };
                let start = outbox.progress.position.saturating_sub(5);
                for attempt in &mut progress.attempts {
                    attempt.seq = attempt.seq.saturating_add(start);
                    let open = outbox.open.get(&attempt.seq).map_or(0, |open| open.attempts);
                    if attempt.number < 3 {
                        attempt.number = open + 1;
                    }
                }
            }
        }
        _ => {}
    }
}

/// What holds of every outbox, whatever was proposed.
pub(super) fn outboxes_are_sound(state: &State) {
    use crate::limits;
    assert!(state.outboxes.keys().eq(state.webhooks.keys()));
    for (id, outbox) in &state.outboxes {
        let progress = &outbox.progress;
        let chain_end = state.heads.get(&state.webhooks[id].tenant).map_or(0, |head| head.seq);
        assert!(progress.position <= chain_end);
        assert!(progress.ahead.iter().all(|seq| *seq > progress.position + 1));
        assert!(outbox.open.keys().all(|seq| outbox.is_dealt_with(*seq)));
        assert!(outbox.open.len() <= limits::WEBHOOK_OPEN_RETRIES_HARD_MAX);
        assert!(outbox.log.len() <= limits::WEBHOOK_DELIVERIES_KEPT);
        for delivery in &outbox.log {
            let open = outbox.open.get(&delivery.seq).map(|open| open.attempts);
            let pending = delivery.status == DeliveryStatus::Pending;
            assert_eq!(open, pending.then_some(delivery.attempts), "{delivery:?}");
        }
    }
}
