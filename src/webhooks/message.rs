//! Messages: an audit event in the shape that consumers are promised.
//!
//! The same event always makes the same bytes, so that every attempt sends the same. Must not know
//! who is told.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::{EventId, NotAnId, Tenant};

/// What is sent of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The event.
    pub event: EventId,
    /// Its name.
    pub name: String,
    /// The JSON text.
    pub body: Vec<u8>,
}

/// A text that is no event; says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not an event: {0}")]
pub struct NotAnEvent(String);

impl From<serde_json::Error> for NotAnEvent {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<NotAnId> for NotAnEvent {
    fn from(error: NotAnId) -> Self {
        Self(error.to_string())
    }
}

/// An event as the audit log has it, as far as consumers are told of it.
#[derive(Deserialize)]
struct Told {
    id: String,
    event: String,
    at: String,
    agent_id: Option<String>,
    token_id: Option<String>,
    policy_id: Option<String>,
    data: Map<String, Value>,
}

impl Message {
    /// What `tenant` is sent of the event with this JSON text. What the event is about, which the
    /// audit log has beside its data, stands in the data.
    ///
    /// # Errors
    ///
    /// If the text is no event.
    pub fn of(tenant: Tenant, event: &str) -> Result<Self, NotAnEvent> {
        let told: Told = serde_json::from_str(event)?;
        let mut data = told.data;
        let subjects = [
            ("agent_id", told.agent_id),
            ("token_id", told.token_id),
            ("policy_id", told.policy_id),
        ];
        for (name, id) in subjects {
            if let Some(id) = id {
                data.insert(name.to_owned(), id.into());
            }
        }
        let event = told.id.parse::<EventId>()?;
        Ok(Self::new(tenant, event, told.event, &told.at, data))
    }

    /// A message with this data, of something that happened at `at` (RFC 3339).
    pub fn new(
        tenant: Tenant,
        event: EventId,
        name: String,
        at: &str,
        data: Map<String, Value>,
    ) -> Self {
        let mut body = json!({
            "id": event.to_string(),
            "type": name,
            "timestamp": at,
            "organization_id": tenant.org.to_string(),
            "environment": tenant.environment.as_str(),
        });
        body["data"] = data.into();
        Self { event, name, body: body.to_string().into_bytes() }
    }

    /// The name alone of the event with this JSON text.
    ///
    /// # Errors
    ///
    /// If the text is no event.
    pub fn name_of(event: &str) -> Result<String, NotAnEvent> {
        #[derive(Deserialize)]
        struct Named {
            event: String,
        }
        let named: Named = serde_json::from_str(event)?;
        Ok(named.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OrgId;

    #[test]
    fn a_message_has_the_promised_members_and_says_what_it_is_about() {
        let tenant = Tenant::live(OrgId::from_ulid(1));
        let event = json!({
            "seq": 7, "id": EventId::from_ulid(9).to_string(), "event": "token.denied",
            "at": "2026-07-01T14:00:00.123Z", "actor": {"type": "api_key", "id": "key_1"},
            "agent_id": "agent_2", "policy_id": "pol_3", "request_id": "r",
            "data": {"reason": "policy_denied", "ttl": 300},
        })
        .to_string();
        let message = Message::of(tenant, &event).expect("an event");
        assert_eq!((message.event, message.name.as_str()), (EventId::from_ulid(9), "token.denied"));
        assert_eq!(Message::name_of(&event).as_deref(), Ok("token.denied"));
        let body: Value = serde_json::from_slice(&message.body).expect("JSON");
        assert_eq!(
            body,
            json!({
                "id": EventId::from_ulid(9).to_string(),
                "type": "token.denied",
                "timestamp": "2026-07-01T14:00:00.123Z",
                "organization_id": tenant.org.to_string(),
                "environment": "live",
                "data": {
                    "reason": "policy_denied", "ttl": 300,
                    "agent_id": "agent_2", "policy_id": "pol_3",
                },
            })
        );
        assert_eq!(Message::of(tenant, &event).expect("an event").body, message.body);
    }

    #[test]
    fn what_is_no_event_is_not_sent() {
        for text in ["", "{}", r#"{"id":"evt_x","event":"a","at":"b","data":{}}"#] {
            assert!(Message::of(Tenant::SYSTEM, text).is_err(), "{text}");
        }
    }
}
