//! Stored bytes never change meaning: what is written here was written by the first version, and
//! every later one must read it as the same.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{super::*, world::*};
use crate::codec;

/// Checks stored forms against their hex, both ways.
pub(crate) fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(table: &[(T, &str)]) {
    let mut wrong = String::new();
    for (item, hex) in table {
        let bytes = codec::encode(item);
        if hex::encode(&bytes) != **hex {
            wrong += &format!("{item:?}\n    {}\n", hex::encode(&bytes));
        }
        assert_eq!(codec::decode::<T>(&bytes).as_ref(), Ok(item));
    }
    assert!(wrong.is_empty(), "stored otherwise than before:\n{wrong}");
}

fn token_request() -> IssueToken {
    IssueToken {
        id: tok(1),
        hash: hash(2),
        agent: agent(3),
        signing_key: sig(4),
        scope: vec!["a".into()],
        target_service: "b".into(),
        intent: Some("c".into()),
        issued_at: 5,
        expires_at: 6,
        signed: Some(SignedRequest {
            key_epoch: 7,
            created_s: 8,
            expires_s: Some(9),
            nonce: hash(10),
        }),
        judged: Judged { policy_epoch: 11, ..judged(12, 13, End::Deny(None)) },
        approval: Some(ApprovalId::from_ulid(14)),
    }
}

fn agent_request() -> CreateAgent {
    CreateAgent {
        id: agent(1),
        name: "a".into(),
        owner: "b".into(),
        description: Some("c".into()),
        model_provider: Some("d".into()),
        model_name: Some("e".into()),
        framework: None,
        metadata: BTreeMap::from([("f".into(), "g".into())]),
        public_key: [8; 32],
        require_signature: true,
    }
}

fn agent_patch() -> UpdateAgent {
    UpdateAgent {
        id: agent(1),
        name: Some("a".into()),
        owner: None,
        description: Some(None),
        model_provider: Some(Some("b".into())),
        model_name: None,
        framework: None,
        metadata: Some(Some(BTreeMap::from([("c".into(), None)]))),
        require_signature: Some(false),
        paused: Some(true),
    }
}

pub(crate) fn an_organization() -> Organization {
    Organization {
        id: org(1),
        name: "a".into(),
        default_effect: DefaultEffect::Deny,
        plan: "b".into(),
        created_at: 2,
        updated_at: 3,
    }
}

pub(crate) fn an_api_key() -> ApiKey {
    ApiKey {
        id: key(1),
        tenant: Tenant { org: org(1), environment: Environment::Test },
        name: "a".into(),
        permissions: Permissions::all(),
        secret_hash: hash(3),
        last_four: "abcd".into(),
        previous: Some(PreviousSecret { hash: hash(4), works_until: 5 }),
        enabled: true,
        created_at: 6,
        expires_at: Some(7),
        last_used_at: None,
    }
}

pub(crate) fn an_operator_key() -> OperatorKey {
    OperatorKey {
        id: op(1),
        name: "a".into(),
        secret_hash: hash(2),
        last_four: "abcd".into(),
        created_at: 3,
    }
}

pub(crate) fn an_agent() -> Agent {
    Agent {
        id: agent(1),
        tenant: Tenant::live(org(1)),
        name: "a".into(),
        owner: "b".into(),
        description: None,
        model_provider: None,
        model_name: None,
        framework: Some("c".into()),
        metadata: BTreeMap::from([("d".into(), "e".into())]),
        public_key: [3; 32],
        require_signature: false,
        status: AgentStatus::Revoked,
        token_epoch: 4,
        key_epoch: 5,
        created_at: 6,
        updated_at: 7,
        revoked_at: Some(8),
    }
}

pub(crate) fn a_signing_key() -> SigningKey {
    SigningKey {
        id: sig(1),
        number: 2,
        node: 3,
        public_key: [4; 32],
        created_at: 5,
        retired_at: Some(6),
        revoked_at: None,
        last_expiry: 7,
    }
}

pub(crate) fn a_token() -> TokenDetails {
    TokenDetails {
        id: tok(1),
        agent: agent(1),
        hash: hash(3),
        signing_key: sig(1),
        scope: Arc::from(["a".to_owned()]),
        target_service: "b".into(),
        intent: None,
        issued_at: 5,
        expires_at: 6,
    }
}

pub(crate) fn a_record() -> LiveToken {
    LiveToken {
        id: tok(1),
        agent: agent(1),
        signing_key: 2,
        token_epoch: 3,
        expires_at: 6,
        revoked: false,
    }
}

#[test]
fn a_stored_command_keeps_its_meaning() {
    check(&[(
        Command {
            actor: ALICE,
            request_id: "r".into(),
            action: Action::Tick(()),
            idempotency: None,
        },
        "01010000000000000000000000000000000101723c00",
    )]);
}

#[test]
fn every_stored_actor_keeps_its_meaning() {
    check(&[
        (ALICE, "010100000000000000000000000000000001"),
        (OPERATOR, "010200000000000000000000000000000001"),
        (Actor::Node(300), "0103fb2c01"),
        (SETUP, "0104"),
    ]);
}

#[test]
fn every_stored_action_keeps_its_meaning() {
    let key_change = UpdateApiKey { id: key(1), name: Some("a".into()), enabled: Some(false) };
    let key_rotation =
        RotateApiKey { id: key(1), secret_hash: hash(2), last_four: "abcd".into(), grace_s: 3 };
    let org_change =
        UpdateOrganization { id: org(1), name: None, default_effect: Some(DefaultEffect::Allow) };
    let agent_key = RotateAgentKey { id: agent(1), public_key: [2; 32] };
    check(&[
        (
            Action::CreateOrganization(new_org(1)),
            "010100000000000000000000000000000001054f726720310103626967",
        ),
        (Action::UpdateOrganization(org_change), "010200000000000000000000000000000001000101"),
        (
            Action::CreateApiKey(new_key(1, 1, Environment::Test)),
            "010a000000000000000000000000000000010000000000000000000000000000000102054b65792031fcffff03000101010101010101010101010101010101010101010101010101010101010101046b30303100",
        ),
        (Action::UpdateApiKey(key_change), "010b000000000000000000000000000000010101610100"),
        (
            Action::RotateApiKey(key_rotation),
            "010c000000000000000000000000000000010202020202020202020202020202020202020202020202020202020202020202046162636403",
        ),
        (Action::DeleteApiKey(key(1)), "010d00000000000000000000000000000001"),
        (Action::TouchApiKeys(vec![(key(1), 2)]), "010e010000000000000000000000000000000102"),
        (
            Action::CreateAgent(agent_request()),
            "01140000000000000000000000000000000101610162010163010164010165000101660167080808080808080808080808080808080808080808080808080808080808080801",
        ),
        (
            Action::UpdateAgent(agent_patch()),
            "01150000000000000000000000000000000101016100010001010162000001010101630001000101",
        ),
        (
            Action::RotateAgentKey(agent_key),
            "0116000000000000000000000000000000010202020202020202020202020202020202020202020202020202020202020202",
        ),
        (Action::RevokeAgentTokens(agent(1)), "011700000000000000000000000000000001"),
        (Action::RevokeAgent(agent(1)), "011800000000000000000000000000000001"),
        (
            Action::IssueToken(token_request()),
            "011e00000000000000000000000000000001020202020202020202020202020202020202020202020202020202020202020200000000000000000000000000000003000000000000000000000000000000040101610162010163050601070801090a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0002000b0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0cfbc832010000000000000000000000000000000e",
        ),
        (Action::RevokeToken(TokenRef::Id(tok(1))), "011f0100000000000000000000000000000001"),
        (
            Action::RevokeToken(TokenRef::Hash(hash(1))),
            "011f020101010101010101010101010101010101010101010101010101010101010101",
        ),
        (
            Action::RegisterSigningKey(new_signing_key(1)),
            "012800000000000000000000000000000001c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9",
        ),
        (Action::RetireSigningKey(sig(1)), "012900000000000000000000000000000001"),
        (Action::RevokeSigningKey(sig(1)), "012a00000000000000000000000000000001"),
        (
            Action::CreateOperatorKey(new_operator(1)),
            "0132000000000000000000000000000000010a4f70657261746f7220316565656565656565656565656565656565656565656565656565656565656565046f303031",
        ),
        (Action::DeleteOperatorKey(op(1)), "013300000000000000000000000000000001"),
        (Action::Tick(()), "013c"),
    ]);
}

#[test]
fn every_stored_outcome_keeps_its_meaning() {
    let died = AgentTokensRevoked { agent: agent(1), at: 2, tokens_invalidated: 3 };
    check(&[
        (
            Outcome::Organization(Arc::new(an_organization())),
            "01010000000000000000000000000000000101610201620203",
        ),
        (
            Outcome::ApiKey(Arc::new(an_api_key())),
            "01020000000000000000000000000000000100000000000000000000000000000001020161fcffff030003030303030303030303030303030303030303030303030303030303030303030461626364010404040404040404040404040404040404040404040404040404040404040404050106010700",
        ),
        (
            Outcome::OperatorKey(Arc::new(an_operator_key())),
            "01030000000000000000000000000000000101610202020202020202020202020202020202020202020202020202020202020202046162636403",
        ),
        (
            Outcome::Agent(Arc::new(an_agent())),
            "010400000000000000000000000000000001000000000000000000000000000000010101610162000000010163010164016503030303030303030303030303030303030303030303030303030303030303030003040506070108",
        ),
        (Outcome::AgentTokensRevoked(died), "0105000000000000000000000000000000010203"),
        (
            Outcome::TokenIssued(Arc::new(a_token())),
            "010600000000000000000000000000000001000000000000000000000000000000010303030303030303030303030303030303030303030303030303030303030303000000000000000000000000000000010101610162000506",
        ),
        (
            Outcome::TokenRevoked(TokenRevoked { id: tok(1), at: 2 }),
            "01070000000000000000000000000000000102",
        ),
        (
            Outcome::SigningKey(Arc::new(a_signing_key())),
            "010800000000000000000000000000000001020304040404040404040404040404040404040404040404040404040404040404040501060007",
        ),
        (Outcome::Deleted(()), "0109"),
        (Outcome::Done(()), "010a"),
    ]);
}

#[test]
fn every_stored_refusal_keeps_its_meaning() {
    check(&[
        (Refusal::CallerUnknown(()), "0101"),
        (Refusal::NotFound(Kind::Organization(())), "010201"),
        (Refusal::NotFound(Kind::ApiKey(())), "010202"),
        (Refusal::NotFound(Kind::OperatorKey(())), "010203"),
        (Refusal::NotFound(Kind::Agent(())), "010204"),
        (Refusal::NotFound(Kind::Token(())), "010205"),
        (Refusal::NotFound(Kind::SigningKey(())), "010206"),
        (Refusal::Forbidden("a".into()), "01030161"),
        (Refusal::AgentNotActive(AgentStatus::Active), "010401"),
        (Refusal::AgentNotActive(AgentStatus::Paused), "010402"),
        (Refusal::AgentNotActive(AgentStatus::Revoked), "010403"),
        (Refusal::IdTaken(Kind::Agent(())), "010504"),
        (Refusal::SigningKeyDead(()), "0106"),
        (Refusal::IssuedAtOff(1), "010701"),
        (Refusal::TtlTooLong(2), "010802"),
        (Refusal::too_many("a", 3), "0109016103"),
        (Refusal::LastOne(Kind::OperatorKey(())), "010a03"),
        (Refusal::Invalid(("a".into(), "b".into())), "010b01610162"),
        (Refusal::AgentKeyReplaced(()), "010c"),
        (Refusal::SignatureRequired(()), "010d"),
    ]);
}

#[test]
fn every_permission_keeps_its_bit() {
    let bits: Vec<String> = Permission::ALL
        .iter()
        .map(|one| hex::encode(codec::encode(&[*one].into_iter().collect::<Permissions>())))
        .collect();
    assert_eq!(
        bits,
        [
            "0101",
            "0102",
            "0104",
            "0108",
            "0110",
            "0120",
            "0140",
            "0180",
            "01fb0001",
            "01fb0002",
            "01fb0004",
            "01fb0008",
            "01fb0010",
            "01fb0020",
            "01fb0040",
            "01fb0080",
            "01fc00000100",
            "01fc00000200"
        ]
    );
}
