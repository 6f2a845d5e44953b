//! The names of all events, for those who choose which ones they want to hear of. A name that is
//! missing here is audited and cannot be asked for; a test of the machine says so.

/// Every name that an event in an audit chain has, sorted.
pub const EVENT_NAMES: &[&str] = &[
    "agent.activated",
    "agent.created",
    "agent.key_rotated",
    "agent.paused",
    "agent.revoked",
    "agent.suspension_lifted",
    "agent.tokens_revoked",
    "agent.updated",
    "api_key.created",
    "api_key.deleted",
    "api_key.rotated",
    "api_key.suspension_lifted",
    "api_key.updated",
    "approval.approved",
    "approval.consumed",
    "approval.denied",
    "approval.requested",
    "billing.plan_downgraded",
    "billing.plan_upgraded",
    "cluster.restored",
    "cluster.suspensions_lifted",
    "domain.created",
    "domain.deleted",
    "domain.failed",
    "domain.lost",
    "domain.verified",
    "operator_key.created",
    "operator_key.deleted",
    "organization.created",
    "organization.updated",
    "plans.self_service_updated",
    "plans.updated",
    "policy.activated",
    "policy.created",
    "policy.deactivated",
    "policy.deleted",
    "policy.updated",
    "signing_key.registered",
    "signing_key.retired",
    "signing_key.revoked",
    "token.denied",
    "token.issued",
    "token.revoked",
    "webhook.created",
    "webhook.deleted",
    "webhook.disabled",
    "webhook.enabled",
    "webhook.secret_rotated",
    "webhook.updated",
];

/// Whether there are events of this name.
pub fn is_known(name: &str) -> bool {
    EVENT_NAMES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_and_hold_those_of_the_product_document() {
        assert!(EVENT_NAMES.is_sorted());
        for name in [
            "token.issued",
            "token.denied",
            "token.revoked",
            "agent.created",
            "agent.revoked",
            "policy.created",
            "policy.deactivated",
            "billing.plan_upgraded",
        ] {
            assert!(is_known(name), "{name}");
        }
        assert!(!is_known("token.*") && !is_known("*"));
    }
}
