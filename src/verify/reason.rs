//! Why a token is not valid. One reason a verdict: the first that applies, in the order of
//! [`Reason::ALL`].

use std::fmt;

macro_rules! reasons {
    ($( $(#[$meta:meta])* $name:ident = $text:literal ),+ $(,)?) => {
        /// Why a token is not valid.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason { $( $(#[$meta])* $name ),+ }

        impl Reason {
            /// Every reason there is, in the order in which they apply.
            pub const ALL: &'static [Reason] = &[$( Reason::$name ),+];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text ),+ }
            }
        }
    };
}

reasons! {
    /// Not a token of ours, whoever signed it; also one of more than 8 KiB.
    Malformed = "malformed",
    /// Its `kid` names no signing key that is registered here, or not any longer.
    UnknownKey = "unknown_key",
    /// The signing key that it names has not signed it.
    BadSignature = "bad_signature",
    /// It was revoked, alone, with all its agent's tokens, or with the key that signed it.
    Revoked = "revoked",
    /// Its agent was revoked.
    AgentRevoked = "agent_revoked",
    /// Its time is over.
    Expired = "expired",
    /// It is signed well, but this cluster never issued it: a signing key is in wrong hands.
    NotIssued = "not_issued",
    /// Its agent is paused.
    AgentPaused = "agent_paused",
    /// It belongs to the other environment.
    WrongEnvironment = "wrong_environment",
    /// It is for another service.
    WrongTarget = "wrong_target",
    /// It does not allow all that is required.
    InsufficientScope = "insufficient_scope",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
