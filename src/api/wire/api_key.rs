//! API keys on the wire.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{ENVIRONMENTS, name, schema, time};
use crate::{
    api::{
        fields::{Checked, Fields, FromFields},
        rules,
    },
    domain::{
        self, Action, ApiKeyId, Environment, Millis, OrgId, Permission, Permissions, RotateApiKey,
        UpdateApiKey,
    },
    limits, mint, rfc3339,
    secrets::{KeyKind, Secret},
};

/// A new API key.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// Its name, for people.
    #[schema(value_type = schema::Name)]
    pub name: String,
    /// The environment that it opens.
    #[schema(value_type = schema::Environment)]
    pub environment: Environment,
    /// What it may do; all that its creator may, if left out. A key cannot grant what it does not
    /// hold.
    #[schema(value_type = Option<schema::Permissions>)]
    pub permissions: Option<Permissions>,
    /// From when on it no longer works, in the future and no later than its creator's end; its
    /// creator's end, if left out, and never, if that has none.
    #[schema(value_type = Option<schema::FutureTimestamp>)]
    pub expires_at: Option<Millis>,
}

impl FromFields for CreateApiKey {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", name);
        let environment = fields.required("environment", rules::one_of(ENVIRONMENTS));
        let permissions = fields.optional("permissions", permissions);
        let expires_at = fields.optional("expires_at", timestamp);
        Some(Self { name: name?, environment: environment?, permissions, expires_at })
    }
}

fn permissions(value: Value) -> Checked<Permissions> {
    let known = rules::parsed::<Permission>("one of the permissions in this API's description");
    let members = rules::set(1..=Permission::ALL.len(), known)(value)?;
    Ok(members.into_iter().collect())
}

/// A time in RFC 3339, as milliseconds since the Unix epoch.
fn timestamp(value: Value) -> Checked<Millis> {
    let text = rules::string(value)?;
    rfc3339::parse_ms(&text)
        .ok_or_else(|| "must be a time in RFC 3339, such as 2026-07-01T14:00:00Z".into())
}

impl CreateApiKey {
    /// What the core is asked for, and the secret that opens the new key.
    pub fn into_action(self, org: OrgId, all_of: Permissions) -> (Action, Secret) {
        let secret = Secret::mint(kind(self.environment));
        let action = Action::CreateApiKey(domain::CreateApiKey {
            id: ApiKeyId::from_ulid(mint::ulid()),
            org,
            environment: self.environment,
            name: self.name,
            permissions: self.permissions.unwrap_or(all_of),
            secret_hash: secret.hash(),
            last_four: secret.last_four().to_owned(),
            expires_at: self.expires_at,
        });
        (action, secret)
    }
}

const fn kind(environment: Environment) -> KeyKind {
    match environment {
        Environment::Live => KeyKind::ApiLive,
        Environment::Test => KeyKind::ApiTest,
    }
}

/// Changes to an API key, as a JSON merge patch (RFC 7396): what is left out stays.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchApiKey {
    /// Its name, for people.
    #[schema(value_type = schema::Name, required = false)]
    pub name: Option<String>,
    /// Whether it works. A disabled key stops at once.
    #[schema(value_type = bool, required = false)]
    pub enabled: Option<bool>,
}

impl FromFields for PatchApiKey {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.changeable("name", name),
            enabled: fields.changeable("enabled", rules::boolean),
        })
    }
}

impl PatchApiKey {
    /// What the core is asked for.
    pub fn into_action(self, id: ApiKeyId) -> Action {
        Action::UpdateApiKey(UpdateApiKey { id, name: self.name, enabled: self.enabled })
    }
}

/// How a key is rotated.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old secret goes on working, in seconds; it stops at once if left out.
    #[schema(value_type = Option<schema::GraceSeconds>)]
    pub grace_seconds: Option<u64>,
}

impl FromFields for RotateKey {
    fn read(fields: &mut Fields) -> Option<Self> {
        let grace = rules::integer(0..=limits::ROTATION_GRACE_MAX_S, "seconds");
        Some(Self { grace_seconds: fields.optional("grace_seconds", grace) })
    }
}

impl RotateKey {
    /// What the core is asked for, and the new secret.
    pub fn into_action(self, key: &domain::ApiKey) -> (Action, Secret) {
        let secret = Secret::mint(kind(key.tenant.environment));
        let action = Action::RotateApiKey(RotateApiKey {
            id: key.id,
            secret_hash: secret.hash(),
            last_four: secret.last_four().to_owned(),
            grace_s: self.grace_seconds.unwrap_or(0),
        });
        (action, secret)
    }
}

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKey {
    /// Its id.
    #[schema(value_type = schema::ApiKeyId)]
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The key itself where it was just made or rotated, shown this once; masked everywhere else.
    #[schema(examples("rai_pk_live_…x7Qz"))]
    pub key: String,
    /// The environment that it opens.
    #[schema(value_type = schema::Environment)]
    pub environment: &'static str,
    /// What it may do.
    #[schema(value_type = Vec<schema::Permission>)]
    pub permissions: Vec<&'static str>,
    /// Whether it works, as long as the key that created it does.
    pub enabled: bool,
    /// The API key that created it, and with which it stops; null, if an operator did.
    #[schema(value_type = Option<schema::ApiKeyId>, required)]
    pub created_by: Option<String>,
    /// When it was created.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// From when on it no longer works; never, if null.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub expires_at: Option<String>,
    /// About when it was last used, exact to the minute.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub last_used_at: Option<String>,
    /// Until when the secret before the last rotation still works.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub previous_key_expires_at: Option<String>,
}

impl ApiKey {
    /// The key as it is shown whenever it is listed.
    pub fn masked(key: &domain::ApiKey, created_by: Option<ApiKeyId>) -> Self {
        let prefix = kind(key.tenant.environment).prefix();
        Self::shown(key, created_by, format!("{prefix}…{}", key.last_four))
    }

    /// The key as it is shown once.
    pub fn with_secret(key: &domain::ApiKey, created_by: Option<ApiKeyId>, secret: &str) -> Self {
        Self::shown(key, created_by, secret.to_owned())
    }

    fn shown(key: &domain::ApiKey, created_by: Option<ApiKeyId>, text: String) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            key: text,
            environment: key.tenant.environment.as_str(),
            permissions: key.permissions.iter().map(Permission::as_str).collect(),
            enabled: key.enabled,
            created_by: created_by.map(|id| id.to_string()),
            created_at: time(key.created_at),
            expires_at: key.expires_at.map(time),
            last_used_at: key.last_used_at.map(time),
            previous_key_expires_at: key.previous.as_ref().map(|old| time(old.works_until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{api::fields, domain::Tenant};

    #[test]
    fn a_key_grants_all_of_its_creators_permissions_unless_it_names_some() {
        let held: Permissions =
            [Permission::AgentsRead, Permission::AuditRead].into_iter().collect();
        for (body, granted) in [
            (json!({"name": "a", "environment": "test"}), held),
            (
                json!({"name": "a", "environment": "test", "permissions": ["agents:read"]}),
                [Permission::AgentsRead].into_iter().collect(),
            ),
        ] {
            let (action, secret) =
                fields::read::<CreateApiKey>(body).unwrap().into_action(OrgId::SYSTEM, held);
            let Action::CreateApiKey(create) = action else { panic!("{action:?}") };
            assert_eq!(create.permissions, granted);
            assert_eq!(create.secret_hash, secret.hash());
            assert!(secret.expose().starts_with("rai_pk_test_"));
        }
    }

    #[test]
    fn a_listed_key_shows_its_kind_and_its_last_four_characters_only() {
        let secret = Secret::mint(KeyKind::ApiLive);
        let key = domain::ApiKey {
            id: ApiKeyId::from_ulid(1),
            tenant: Tenant::live(OrgId::SYSTEM),
            name: "a".into(),
            permissions: Permissions::all(),
            secret_hash: secret.hash(),
            last_four: secret.last_four().into(),
            previous: None,
            enabled: true,
            created_at: 0,
            expires_at: None,
            last_used_at: None,
        };
        let masked = serde_json::to_string(&ApiKey::masked(&key, None)).unwrap();
        assert!(!masked.contains(secret.expose()));
        assert_eq!(ApiKey::masked(&key, None).key, format!("rai_pk_live_…{}", secret.last_four()));
        assert_eq!(ApiKey::with_secret(&key, None, secret.expose()).key, secret.expose());
    }

    #[test]
    fn a_faulty_request_for_a_key_names_each_field() {
        let body = json!({
            "name": "",
            "permissions": ["agents:read", "agents:reed", "agents:read"],
            "expires_at": "tomorrow",
        });
        let errors = fields::read::<CreateApiKey>(body).unwrap_err();
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["name", "environment", "permissions[1]", "expires_at"]);
    }
}
