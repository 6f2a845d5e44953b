//! A body that the agent may have signed (RFC 9421), besides the API key that every request has.
//!
//! What is signed is what arrived: the method, the path as sent, and the digest of the bytes. Knows
//! nothing of whose signature it has to be, but how to check that once it is told.

use axum::{
    extract::{FromRequest, OriginalUri, Request},
    http::{HeaderMap, Method},
};
use sha2::{Digest, Sha256};

use super::{
    body::{check_content_type, read_object, receive},
    fields::FromFields,
    idempotency::note_body,
    problem::{Code, Problem},
};
use crate::{
    domain::{Agent, SignedRequest},
    signature::{Fault, Message, Presented},
};

/// A request's body, checked, and the signature on the request, if there is one.
#[derive(Debug)]
pub struct SignedBody<T> {
    /// The body.
    pub body: T,
    /// The signature. It goes with the body; whose it is remains to be shown.
    pub signature: Option<Presented>,
}

impl<S: Send + Sync, T: FromFields> FromRequest<S> for SignedBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers)?;
        // A nested router sees a shortened path; the signer signed the whole one.
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or_else(|| parts.uri.path().to_owned(), |OriginalUri(uri)| uri.path().to_owned());
        let bytes = receive(&parts.headers, body).await?;
        let signature = read_signature(&parts.method, &path, &parts.headers, &bytes)?;
        note_body(&parts, &bytes, signature.is_some());
        Ok(Self { body: read_object(&bytes)?, signature })
    }
}

fn read_signature(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Presented>, Problem> {
    let header = |name: &str| {
        let lines: Result<Vec<&str>, _> =
            headers.get_all(name).iter().map(|value| value.to_str()).collect();
        match lines {
            Ok(lines) if lines.is_empty() => Ok(None),
            Ok(lines) => Ok(Some(lines.join(", "))),
            Err(_) => Err(Problem::new(
                Code::INVALID_SIGNATURE,
                format!("The header {name} holds characters other than visible ASCII."),
            )),
        }
    };
    let (input, signature, digest) =
        (header("signature-input")?, header("signature")?, header("content-digest")?);
    let message = Message {
        method: method.as_str(),
        path,
        signature_input: input.as_deref(),
        signature: signature.as_deref(),
        content_digest: digest.as_deref(),
        body,
    };
    Presented::read(&message).map_err(|fault| invalid(&fault))
}

/// Checks that `signature` is that of `agent`; what the core is told of it.
pub fn verify(signature: &Presented, agent: &Agent) -> Result<SignedRequest, Problem> {
    if signature.key_id != agent.id.to_string() {
        return Err(Problem::new(
            Code::INVALID_SIGNATURE,
            "The keyid of the signature is not the agent_id of the request. An agent signs for \
             itself.",
        ));
    }
    signature.is_by(&agent.public_key).map_err(|fault| invalid(&fault))?;
    Ok(SignedRequest {
        key_epoch: agent.key_epoch,
        created_s: signature.created_s,
        expires_s: signature.expires_s,
        nonce: Sha256::digest(&signature.nonce).into(),
    })
}

fn invalid(fault: &Fault) -> Problem {
    Problem::new(
        Code::INVALID_SIGNATURE,
        format!("The request's signature does not count: {fault}. Nothing was issued."),
    )
}
