//! Schemas of what fields hold, built from the limits that validation applies, so that the API's
//! description cannot say otherwise. Types without values: DTOs name them with `value_type`.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type,
        schema::AdditionalProperties,
    },
};

use authrai_cluster::Unready;

use crate::{domain, limits, verify};

/// Text without control characters.
const TEXT: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$";
/// The same, and not blank.
const FILLED: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*$";
const SCOPE: &str = "^(\\*|[A-Za-z0-9_:-]+(\\.[A-Za-z0-9_:-]+)*(\\.\\*)?)$";
const PUBLIC_KEY: &str = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$";
/// Names in ASCII; others are written as `xn--…` before they are stored.
const DOMAIN: &str = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

macro_rules! schemas {
    ($( $(#[$meta:meta])* $name:ident = $build:expr; )+) => { $(
        $(#[$meta])*
        #[derive(Debug)]
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T($build.into())
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+

    /// All of them, by name: parameters name some that no body does.
    pub fn all() -> impl Iterator<Item = (String, RefOr<Schema>)> {
        [$( (stringify!($name).to_owned(), $name::schema()) ),+].into_iter()
    }
    };
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Text for people with at most so many characters.
fn text(chars_max: usize, example: &str) -> ObjectBuilder {
    string().max_length(Some(chars_max)).pattern(Some(TEXT)).examples([json!(example)])
}

/// The same, and not blank.
fn filled(chars_max: usize, example: &str) -> ObjectBuilder {
    text(chars_max, example).min_length(Some(1)).pattern(Some(FILLED))
}

/// An id with this prefix.
fn id(prefix: &str) -> ObjectBuilder {
    string()
        .pattern(Some(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")))
        .examples([json!(format!("{prefix}_01j1qz4zk8e6m2v7x9c3b5n0ah"))])
}

fn words(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    string().enum_values(Some(words))
}

fn integer(least: u64, most: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least as f64))
        .maximum(Some(most as f64))
}

fn scopes(least: usize) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(string().pattern(Some(SCOPE)).max_length(Some(limits::SCOPE_MAX_BYTES)))
        .min_items(Some(least))
        .max_items(Some(limits::SCOPES_MAX))
        .unique_items(true)
        .examples([json!(["secrets.read", "db.write"])])
}

fn metadata(entry: impl Into<Schema>) -> ObjectBuilder {
    let key = filled(limits::METADATA_KEY_MAX_CHARS, "region");
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .max_properties(Some(limits::METADATA_ENTRIES_MAX))
        .property_names(Some(Schema::from(key)))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(entry.into()))))
        .examples([json!({"region": "eu-west-1"})])
}

fn patterns(item: ObjectBuilder, example: &str) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(item)
        .min_items(Some(1))
        .max_items(Some(limits::PATTERNS_MAX))
        .examples([json!([example])])
}

schemas! {
    /// A name or an owner.
    Name = filled(limits::NAME_MAX_CHARS, "data-processor");
    /// A description, a model or a framework.
    Description = text(limits::DESCRIPTION_MAX_CHARS, "Cleans the nightly export");
    /// What a token is for.
    Intent = text(limits::INTENT_MAX_CHARS, "Rotate the database password");
    /// Where a token may be used.
    TargetService = filled(limits::TARGET_SERVICE_MAX_CHARS, "billing-api");
    /// What a token is to allow.
    Scopes = scopes(1);
    /// What a token must allow.
    RequiredScopes = scopes(0);
    /// How long a token is to live.
    TtlSeconds = integer(1, limits::TTL_MAX_S);
    /// How long an old secret goes on.
    GraceSeconds = integer(0, limits::ROTATION_GRACE_MAX_S);
    /// What an agent's owner wants to remember of it.
    Metadata = metadata(text(limits::METADATA_VALUE_MAX_CHARS, "eu-west-1"));
    /// Entries of metadata to set, or to remove where null.
    MetadataPatch = metadata(
        text(limits::METADATA_VALUE_MAX_CHARS, "eu-west-1")
            .schema_type(utoipa::openapi::schema::SchemaType::Array(vec![Type::String, Type::Null])),
    );
    /// The public half of an Ed25519 key: base64url of 32 bytes, without padding.
    PublicKey = string()
        .pattern(Some(PUBLIC_KEY))
        .examples([json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]);
    /// A point in time, UTC.
    Timestamp = string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples([json!("2026-07-01T14:00:00Z")]);
    /// A point in time that is still to come.
    FutureTimestamp = string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples([json!("2099-01-01T00:00:00Z")]);
    /// A right that an API key can hold.
    Permission = words(domain::Permission::ALL.iter().map(|known| known.as_str()));
    /// Rights, none twice.
    Permissions = ArrayBuilder::new()
        .items(words(domain::Permission::ALL.iter().map(|known| known.as_str())))
        .min_items(Some(1))
        .unique_items(true)
        .examples([json!(["agents:read", "tokens:issue"])]);
    /// `live` or `test`: two worlds that never see each other.
    Environment = words(["live", "test"]);
    /// Whether an agent may act.
    AgentStatus = words(["active", "paused", "revoked"]);
    /// What an agent's status can be set to.
    SettableStatus = words(["active", "paused"]);
    /// What happens to a token request that no policy matches.
    DefaultEffect = words(["allow", "deny"]);
    /// Why a token is not good, the first that applies in this order.
    Reason = words(verify::Reason::ALL.iter().map(|reason| reason.as_str()));
    /// Always true.
    True = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
    /// Always false.
    False = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([false]));
    /// A node's id.
    NodeId = integer(1, limits::NODE_ID_MAX).examples([json!(2)]);
    /// What a node is at the moment.
    NodeRole = words(["learner", "follower", "candidate", "leader", "stopped"]);
    /// Why a node was refused a lease.
    LeaseRefusal = words([
        "not_leader", "taking_office", "not_member", "lagging", "no_quorum", "too_many", "diverged",
    ]);
    /// Why a node is not ready.
    NotReady = words(Unready::NAMES.into_iter().chain([super::health::NO_SIGNING_KEY]));
    /// What a restore can suspend.
    SuspendedKind = words(["api_key", "agent"]);
    /// What a signing key may do.
    SigningKeyStatus = words(["active", "retired", "revoked"]);
    /// An agent's id.
    AgentId = id("agent");
    /// A token's id.
    TokenId = id("tok");
    /// An API key's id.
    ApiKeyId = id("key");
    /// An operator key's id.
    OperatorKeyId = id("op");
    /// A signing key's id, the `kid` of what it signs.
    SigningKeyId = id("sig");
    /// A policy's id.
    PolicyId = id("pol");
    /// An approval's id.
    ApprovalId = id("apr");
    /// How far an approval has come.
    ApprovalStatus = words(domain::ApprovalStatus::ALL.map(domain::ApprovalStatus::as_str));
    /// What a rule does.
    Effect = words(["allow", "deny", "throttle", "require_approval"]);
    /// Whose tokens a throttle counts together.
    Per = words(["agent", "owner", "organization"]);
    /// The higher decides.
    Priority = integer(0, limits::PRIORITY_MAX.into());
    /// How many tokens a window lets through.
    ThrottleLimit = integer(1, limits::THROTTLE_LIMIT_MAX);
    /// How long a window is.
    WindowSeconds = integer(1, limits::THROTTLE_WINDOW_MAX_S);
    /// How long an approval waits.
    ApprovalTtlSeconds = integer(1, limits::APPROVAL_TTL_MAX_S);
    /// A CEL expression.
    Condition = string()
        .max_length(Some(limits::CONDITION_MAX_BYTES))
        .examples([json!("request.ttl <= 300 && agent.owner == 'engineering'")]);
    /// Texts in which `*` stands for any run of characters.
    Patterns = patterns(string()
        .max_length(Some(limits::PATTERN_MAX_BYTES))
        .pattern(Some(TEXT)), "engineering*");
    /// Scopes in which `*` stands for any run of characters.
    ScopePatterns = patterns(string()
        .max_length(Some(limits::SCOPE_MAX_BYTES))
        .pattern(Some("^[A-Za-z0-9_:.*-]+$")), "db.*");
    /// An audit event's id.
    EventId = id("evt");
    /// The name of an audit event.
    EventName = string()
        .pattern(Some("^[a-z_]+\\.[a-z_]+$"))
        .max_length(Some(limits::EVENT_NAME_MAX_BYTES))
        .examples([json!("token.issued")]);
    /// What kind of actor caused an event.
    ActorType = words(["api_key", "operator_key", "node", "setup"]);
    /// Who caused an event.
    ActorId = string()
        .pattern(Some("^((key|op)_[0-7][0-9a-hjkmnp-tv-z]{25}|0|[1-9][0-9]{0,18}|setup)$"))
        .examples([json!("key_01j1qz4zk8e6m2v7x9c3b5n0ah")]);
    /// A SHA-256 in lowercase hex.
    HashHex = string()
        .pattern(Some("^[0-9a-f]{64}$"))
        .examples([json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]);
    /// How an export is written.
    ExportFormatName = words(["json", "csv"]);
    /// An organisation's id.
    OrganizationId = id("org");
    /// A webhook endpoint's id.
    WebhookId = id("wh");
    /// A delivery's id.
    DeliveryId = id("dlv");
    /// Where events are sent to: an https URL that leads to the public internet.
    WebhookUrl = string()
        .max_length(Some(limits::WEBHOOK_URL_MAX_BYTES))
        .format(Some(SchemaFormat::Custom("uri".to_owned())))
        .examples([json!("https://example.com/webhooks")]);
    /// Names of events, or `*` alone, which stands for all of them.
    WebhookEvents = ArrayBuilder::new()
        .items(words(std::iter::once(domain::EVERY_EVENT).chain(domain::EVENT_NAMES.iter().copied())))
        .min_items(Some(1))
        .max_items(Some(domain::EVENT_NAMES.len()))
        .unique_items(true)
        .examples([json!(["token.issued", "token.denied"]), json!(["*"])]);
    /// Whether an endpoint is sent anything.
    WebhookStatus = words(["enabled", "disabled"]);
    /// Why an endpoint is disabled.
    DisabledReason = words(domain::DisabledReason::ALL.map(domain::DisabledReason::as_str));
    /// How far a delivery has come.
    DeliveryStatus = words(domain::DeliveryStatus::ALL.map(domain::DeliveryStatus::as_str));
    /// Why an attempt failed.
    DeliveryFault = words(domain::DeliveryFault::ALL.map(domain::DeliveryFault::as_str));
    /// A signing secret: `whsec_` and the base64 of 32 bytes.
    WebhookSecret = string()
        .pattern(Some("^whsec_[A-Za-z0-9+/]{43}=$"))
        .examples([json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]);
    /// A domain's id.
    DomainId = id("dom");
    /// The name of a domain.
    DomainName = string()
        .max_length(Some(limits::DOMAIN_NAME_MAX_BYTES))
        .pattern(Some(DOMAIN))
        .examples([json!("acme.example")]);
    /// How far the proof of a domain has come.
    DomainStatus = words(domain::DomainStatus::ALL.map(domain::DomainStatus::as_str));
    /// The name of a plan.
    PlanName = string()
        .min_length(Some(1))
        .max_length(Some(limits::PLAN_NAME_MAX_BYTES))
        .pattern(Some("^[a-z0-9_-]+$"))
        .examples([json!("unlimited")]);
}
