//! Stored bytes of webhook endpoints and deliveries never change meaning.

use std::{collections::BTreeSet, sync::Arc};

use super::{super::*, golden::check, webhook::wh, world::*};

pub(crate) fn a_webhook() -> Webhook {
    Webhook {
        id: wh(1),
        tenant: Tenant::live(org(1)),
        url: "u".into(),
        events: BTreeSet::from(["a".into(), "b".into()]),
        past: vec![PastChoice { events: BTreeSet::from(["c".into()]), through: 9 }],
        description: Some("d".into()),
        secret: SealedSecret { version: 2, sealed: vec![3] },
        previous: Some(PreviousSigningSecret {
            secret: SealedSecret { version: 1, sealed: vec![4] },
            works_until: 5,
        }),
        disabled: Some((DisabledReason::Failing, 6)),
        created_at: 7,
        updated_at: 8,
    }
}

pub(crate) fn a_delivery() -> Delivery {
    Delivery {
        id: DeliveryId::from_ulid(1),
        seq: 2,
        event: EventId::from_ulid(3),
        event_name: "a".into(),
        status: DeliveryStatus::Pending,
        attempts: 4,
        last_attempt_at: 5,
        next_attempt_at: Some(6),
        latency_ms: 7,
        response_status: Some(200),
        fault: Some(DeliveryFault::Timeout),
        response_body: Some("b".into()),
    }
}

pub(crate) fn a_progress() -> Progress {
    Progress { position: 1, ahead: BTreeSet::from([3, 4]), failing_since: Some(5) }
}

fn an_attempt(result: AttemptResult) -> DeliveryAttempt {
    DeliveryAttempt {
        seq: 1,
        event: EventId::from_ulid(2),
        event_name: "a".into(),
        number: 3,
        at: 4,
        latency_ms: 5,
        result,
        retry_at: Some(6),
    }
}

#[test]
fn every_stored_action_on_webhooks_keeps_its_meaning() {
    let create = CreateWebhook {
        id: wh(1),
        url: "u".into(),
        events: BTreeSet::from(["*".into()]),
        description: None,
        sealed_secret: vec![2, 3],
    };
    let update = UpdateWebhook {
        id: wh(1),
        url: Some("u".into()),
        events: Some(BTreeSet::from(["a".into()])),
        description: Some(None),
        enabled: Some(true),
    };
    let rotate = RotateWebhookSecret {
        id: wh(1),
        secret: SealedSecret { version: 2, sealed: vec![3] },
        grace_s: 4,
    };
    let failure =
        FailedAttempt { fault: DeliveryFault::Status, status: Some(500), body: Some("b".into()) };
    let attempts =
        vec![an_attempt(AttemptResult::Delivered(200)), an_attempt(AttemptResult::Failed(failure))];
    let record = RecordDeliveries {
        endpoints: vec![EndpointProgress { webhook: wh(1), position: 2, attempts }],
    };
    let retry = RetryDelivery { webhook: wh(1), delivery: DeliveryId::from_ulid(2) };
    check(&[
        (Action::CreateWebhook(create), "016400000000000000000000000000000001017501012a00020203"),
        (
            Action::UpdateWebhook(update),
            "0165000000000000000000000000000000010101750101016101000101",
        ),
        (Action::DeleteWebhook(wh(1)), "016600000000000000000000000000000001"),
        (Action::RotateWebhookSecret(rotate), "01670000000000000000000000000000000102010304"),
        (
            Action::RecordDeliveries(record),
            "0168010000000000000000000000000000000102020100000000000000000000000000000002016103040501c8010601000000000000000000000000000000020161030405020101fbf4010101620106",
        ),
        (
            Action::RetryDelivery(retry),
            "01690000000000000000000000000000000100000000000000000000000000000002",
        ),
    ]);
}

#[test]
fn every_stored_outcome_and_refusal_of_webhooks_keeps_its_meaning() {
    check(&[
        (
            Outcome::Webhook(Arc::new(a_webhook())),
            "011e00000000000000000000000000000001000000000000000000000000000000010101750201610162010101630901016402010301010104050102060708",
        ),
        (
            Outcome::Delivery(Arc::new(a_delivery())),
            "011f000000000000000000000000000000010200000000000000000000000000000003016101040501060701c80102010162",
        ),
    ]);
    check(&[
        (Refusal::WebhookDisabled(()), "011e"),
        (Refusal::WebhookSecretMoved(()), "011f"),
        (Refusal::NotFound(Kind::Webhook(())), "010209"),
        (Refusal::NotFound(Kind::Delivery(())), "01020c"),
    ]);
}

#[test]
fn every_stored_name_of_webhooks_keeps_its_tag() {
    assert_eq!(DisabledReason::ALL.map(u8::from), [1, 2, 3]);
    assert_eq!(DeliveryStatus::ALL.map(u8::from), [1, 2, 3]);
    assert_eq!(DeliveryFault::ALL.map(u8::from), [1, 2, 3, 4, 5]);
}
