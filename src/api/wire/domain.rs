//! Domains on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use super::{schema, time};
use crate::{
    api::{
        fields::{Checked, Fields, FromFields},
        rules,
    },
    dns,
    domain::{self, Action, DnsDomain, DomainId},
    mint, secrets,
};

/// A new domain.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDomain {
    /// Its name, of two labels at least. International names are turned into `xn--…`.
    #[schema(value_type = schema::DomainName)]
    pub domain: String,
}

fn name(value: serde_json::Value) -> Checked<String> {
    Ok(dns::normalise(&rules::string(value)?)?)
}

impl FromFields for CreateDomain {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { domain: fields.required("domain", name)? })
    }
}

impl CreateDomain {
    /// What the core is asked for.
    pub fn into_action(self) -> Action {
        Action::CreateDomain(domain::CreateDomain {
            id: DomainId::from_ulid(mint::ulid()),
            name: self.domain,
            challenge: *secrets::random(),
        })
    }
}

/// The record that proves a domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct TxtRecord {
    /// Where it has to stand.
    #[schema(examples("_authrai-challenge.acme.example"))]
    pub name: String,
    /// Always `TXT`.
    #[serde(rename = "type")]
    #[schema(examples("TXT"))]
    pub kind: &'static str,
    /// What it has to hold.
    #[schema(examples("authrai-verification=11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))]
    pub value: String,
}

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domain {
    /// Its id.
    #[schema(value_type = schema::DomainId)]
    pub id: String,
    /// Its name, in lowercase ASCII.
    #[schema(value_type = schema::DomainName)]
    pub domain: String,
    /// `pending` before the first check, then what the last check came to.
    #[schema(value_type = schema::DomainStatus)]
    pub status: &'static str,
    /// The record that proves it.
    pub txt_record: TxtRecord,
    /// What the last check saw there: the TXT records, 8 at most and each cut after 255
    /// characters, or one line that says that there is none. Null before the first check.
    #[schema(required, examples(json!(["NXDOMAIN: the name does not exist"])))]
    pub seen: Option<Vec<String>>,
    /// When it was last checked.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub last_checked_at: Option<String>,
    /// Since when it is verified.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub verified_at: Option<String>,
    /// Since when a domain that was verified is so no longer: its record is gone.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub lost_at: Option<String>,
    /// When it was added.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
}

impl From<&DnsDomain> for Domain {
    fn from(domain: &DnsDomain) -> Self {
        Self {
            id: domain.id.to_string(),
            domain: domain.name.as_ref().to_owned(),
            status: domain.status.as_str(),
            txt_record: TxtRecord {
                name: domain.txt_name(),
                kind: "TXT",
                value: domain.txt_value(),
            },
            seen: domain.seen.as_ref().map(domain::Seen::lines),
            last_checked_at: domain.last_checked_at.map(time),
            verified_at: domain.verified_at.map(time),
            lost_at: domain.lost_at.map(time),
            created_at: time(domain.created_at),
        }
    }
}
