//! Stored bytes never change meaning.

use std::sync::Arc;

use super::super::{
    StoredReply,
    snapshot::{Record, Singles},
};
use crate::{
    codec,
    domain::{
        Head, Outcome, Refusal, Tenant,
        tests::{golden::*, world::*},
    },
};

#[test]
fn every_snapshot_record_keeps_its_meaning() {
    let singles = Singles { clock: 1, next_signing_key: 2, expired_through: (3, hash(4)) };
    check(&[
        (
            Record::Singles(singles),
            "01010102030404040404040404040404040404040404040404040404040404040404040404",
        ),
        (
            Record::Organization(Arc::new(an_organization())),
            "0102000000000000000000000000000000010161020203",
        ),
        (
            Record::ApiKey(Arc::new(an_api_key())),
            "01030000000000000000000000000000000100000000000000000000000000000001020161fcffff030003030303030303030303030303030303030303030303030303030303030303030461626364010404040404040404040404040404040404040404040404040404040404040404050106010700",
        ),
        (
            Record::OperatorKey(Arc::new(an_operator_key())),
            "01040000000000000000000000000000000101610202020202020202020202020202020202020202020202020202020202020202046162636403",
        ),
        (
            Record::RetiredSecret((hash(1), 2)),
            "0105010101010101010101010101010101010101010101010101010101010101010102",
        ),
        (
            Record::Agent(Arc::new(an_agent())),
            "010600000000000000000000000000000001000000000000000000000000000000010101610162000000010163010164016503030303030303030303030303030303030303030303030303030303030303030003040506070108",
        ),
        (
            Record::SigningKey(Arc::new(a_signing_key())),
            "010700000000000000000000000000000001020304040404040404040404040404040404040404040404040404040404040404040501060007",
        ),
        (
            Record::Token((hash(3), a_record())),
            "01080303030303030303030303030303030303030303030303030303030303030303000000000000000000000000000000010000000000000000000000000000000102030600",
        ),
        (Record::TokenRevokedAt((tok(1), 2)), "01090000000000000000000000000000000102"),
        (
            Record::ListedToken(Arc::new(a_token())),
            "010a00000000000000000000000000000001000000000000000000000000000000010303030303030303030303030303030303030303030303030303030303030303000000000000000000000000000000010101610162000506",
        ),
        (
            Record::Head((Tenant::SYSTEM, Head { seq: 1, hash: hash(2) })),
            "010b0000000000000000000000000000000001010202020202020202020202020202020202020202020202020202020202020202",
        ),
        (Record::End(3), "010c03"),
    ]);
}

#[test]
fn every_reply_keeps_its_meaning() {
    let replies =
        [StoredReply::Outcome(Outcome::Done(())), StoredReply::Refusal(Refusal::CallerUnknown(()))];
    assert_eq!(replies.map(|reply| hex::encode(codec::encode(&reply))), ["01010a", "010201"]);
}
