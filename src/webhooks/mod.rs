//! Webhooks on the wire: what is sent, how it is signed, and where it may go.
//!
//! A message is an audit event in the shape that consumers are promised, signed by Standard
//! Webhooks 1.0. It goes only to addresses outside this network, judged where the connection is
//! made. Must not know which events an endpoint is owed, or when.

mod deliver;
mod guard;
mod message;
mod secret;
mod sign;

pub use deliver::{Answer, Deliverer, Parcel};
pub use guard::{Guard, check_url};
pub use message::{Message, NotAnEvent};
pub use secret::{SigningSecret, Unsealed};
