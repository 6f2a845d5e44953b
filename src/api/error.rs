//! Refusals and failed commands to problems: the only place that gives them a status.
//!
//! Every detail says what happened, why, and what to do. No secret can get here: refusals carry
//! none.

use super::problem::{Code, Problem};
use crate::{
    actors::CommandError,
    domain::{AgentStatus, Kind, Refusal},
};

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::TooLarge { bytes, limit } => Problem::new(
                Code::BODY_TOO_LARGE,
                format!(
                    "As an entry of the log the request has {bytes} bytes; {limit} are allowed. \
                     Send less at once."
                ),
            ),
            CommandError::Overloaded => Problem::new(
                Code::OVERLOADED,
                "This node has as many writes under way as it admits. Nothing was done; \
                 try again shortly.",
            ),
            CommandError::NoQuorum => Problem::new(
                Code::NO_QUORUM,
                "No majority of the cluster's nodes can be reached, so nothing can be written. \
                 Nothing was done; try again, or ask another node.",
            ),
            CommandError::OutcomeUnknown => Problem::new(
                Code::OUTCOME_UNKNOWN,
                "The cluster did not confirm the write in time: it may have been done or not. \
                 Read before you try again. A token or a key that was being made is lost.",
            ),
            CommandError::NotReady(why) => Problem::new(
                Code::NOT_READY,
                format!(
                    "This node cannot do that yet: {why}. Nothing was done; try again shortly."
                ),
            ),
            CommandError::ShuttingDown => shutting_down(),
            CommandError::Failed(why) => {
                tracing::error!(%why, "a command failed on this node");
                Problem::new(
                    Code::NOT_READY,
                    "This node has failed and must be looked after. Ask another node; the node's \
                     log says why.",
                )
            }
        }
    }
}

/// The node is going away.
pub fn shutting_down() -> Problem {
    Problem::new(
        Code::SHUTTING_DOWN,
        "This node is being stopped. Nothing was done; try again, or ask another node.",
    )
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CallerUnknown(()) => Problem::new(
                Code::INVALID_API_KEY,
                "The key was deleted, disabled, rotated or ran out while the request was under \
                 way. Use a key that works.",
            ),
            Refusal::NotFound(kind) => not_found(kind),
            Refusal::Forbidden(why) => Problem::new(Code::FORBIDDEN, sentence(&why)),
            Refusal::AgentNotActive(status) => agent_not_active(status),
            Refusal::IdTaken(kind) => Problem::new(
                Code::CONFLICT,
                format!(
                    "The id that this node drew for the new {} is taken. Try again.",
                    noun(kind)
                ),
            ),
            Refusal::SigningKeyDead(()) => Problem::new(
                Code::NOT_READY,
                "This node's signing key was just replaced. Nothing was issued; try again.",
            ),
            Refusal::IssuedAtOff(_) => Problem::new(
                Code::NOT_READY,
                "This node's clock is too far from the cluster's, so it may not issue tokens. \
                 Nothing was issued; ask another node, and set this one's clock right.",
            ),
            Refusal::TtlTooLong(most) => Problem::invalid_field(
                "ttl",
                format!("is longer than what is permitted here, {most} seconds"),
            ),
            Refusal::TooMany(reached) => Problem::new(
                Code::LIMIT_REACHED,
                format!(
                    "There may be at most {} {}, and there are as many. Remove some, or wait until \
                     some expire.",
                    reached.limit, reached.what
                ),
            )
            .retry_after(LIMIT_RETRY_AFTER_S),
            Refusal::LastOne(kind) => Problem::new(
                Code::LAST_ONE,
                format!(
                    "This is the last {} there is; without it nobody could get in again. Create \
                     another one first.",
                    noun(kind)
                ),
            ),
            Refusal::Invalid((field, message)) => Problem::invalid_field(field, message),
            Refusal::AgentKeyReplaced(()) => Problem::new(
                Code::AGENT_KEY_REPLACED,
                "The agent's key was replaced while the request was under way. Sign the request \
                 with the new key.",
            ),
            Refusal::SignatureRequired(()) => Problem::new(
                Code::SIGNATURE_REQUIRED,
                "This agent must sign its token requests with its secret key (RFC 9421), and this \
                 one is not signed.",
            ),
        }
    }
}

/// Limits are freed by expiry, which is a matter of minutes.
const LIMIT_RETRY_AFTER_S: u64 = 60;

/// Nothing of this kind has the id, as far as the caller can see.
pub fn not_found(kind: Kind) -> Problem {
    let noun = noun(kind);
    Problem::new(
        Code::NOT_FOUND,
        format!(
            "There is no such {noun} within reach of this key: the id is wrong, the {noun} is gone, \
             or it belongs to another organisation or environment."
        ),
    )
}

fn agent_not_active(status: AgentStatus) -> Problem {
    match status {
        AgentStatus::Revoked => Problem::new(
            Code::AGENT_REVOKED,
            "The agent is revoked, which is final. Create a new agent.",
        ),
        AgentStatus::Paused => Problem::new(
            Code::AGENT_PAUSED,
            "The agent is paused and gets no tokens. Set its status to active first.",
        ),
        AgentStatus::Active => Problem::new(
            Code::CONFLICT,
            "The agent was activated while the request was under way. Try again.",
        ),
    }
}

const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Organization(()) => "organisation",
        Kind::ApiKey(()) => "API key",
        Kind::OperatorKey(()) => "operator key",
        Kind::Agent(()) => "agent",
        Kind::Token(()) => "live token",
        Kind::SigningKey(()) => "signing key",
    }
}

/// A reason of the core's as a sentence.
fn sentence(why: &str) -> String {
    let mut text: String = why.chars().take(1).flat_map(char::to_uppercase).collect();
    text.extend(why.chars().skip(1));
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LimitReached;

    #[test]
    fn every_refusal_has_its_status() {
        let reached = LimitReached { what: "live tokens in this environment".into(), limit: 5 };
        for (refusal, status, name) in [
            (Refusal::CallerUnknown(()), 401, "invalid_api_key"),
            (Refusal::NotFound(Kind::Agent(())), 404, "not_found"),
            (Refusal::Forbidden("no".into()), 403, "forbidden"),
            (Refusal::AgentNotActive(AgentStatus::Paused), 409, "agent_paused"),
            (Refusal::AgentNotActive(AgentStatus::Revoked), 409, "agent_revoked"),
            (Refusal::IdTaken(Kind::Token(())), 409, "conflict"),
            (Refusal::SigningKeyDead(()), 503, "not_ready"),
            (Refusal::IssuedAtOff(1), 503, "not_ready"),
            (Refusal::TtlTooLong(300), 422, "validation_failed"),
            (Refusal::TooMany(reached), 429, "limit_reached"),
            (Refusal::LastOne(Kind::OperatorKey(())), 409, "last_one"),
            (Refusal::Invalid(("scope".into(), "is wrong".into())), 422, "validation_failed"),
            (Refusal::AgentKeyReplaced(()), 409, "agent_key_replaced"),
            (Refusal::SignatureRequired(()), 401, "signature_required"),
        ] {
            let problem = Problem::from(CommandError::Refused(refusal));
            assert_eq!((problem.code.status, problem.code.name), (status, name));
            assert!(problem.detail.ends_with('.'), "{}", problem.detail);
        }
    }

    #[test]
    fn a_write_that_the_cluster_did_not_take_is_a_503_that_says_when_to_come_back() {
        for (error, name) in [
            (CommandError::Overloaded, "overloaded"),
            (CommandError::NoQuorum, "no_quorum"),
            (CommandError::OutcomeUnknown, "outcome_unknown"),
            (CommandError::NotReady("it has no signing key yet"), "not_ready"),
            (CommandError::ShuttingDown, "shutting_down"),
            (CommandError::Failed("disk".into()), "not_ready"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.code.status, problem.code.name), (503, name));
            assert!(problem.retry_after_s.is_some());
        }
    }

    #[test]
    fn a_failed_node_does_not_tell_clients_its_disk_paths() {
        let problem = Problem::from(CommandError::Failed("/var/lib/authrai/db".into()));
        assert!(!problem.detail.contains("/var"));
    }
}
