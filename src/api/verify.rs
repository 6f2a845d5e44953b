//! Verification over HTTP: no key needed, answered from this node's memory.
//!
//! In this order: read the clock, ask whether the node may serve, load the view, decide. Only two
//! kinds of token cost more. One that is signed well and unknown takes one round to the leader, shared
//! with whoever else waits for one; and one that expires within the moment by which nodes may differ
//! takes that moment, a tenth of a second or so, for what one node has called expired no other may
//! call valid. Then the question is put again. A round that fails is a 503, never a verdict. Knows
//! nothing of how a verdict is found.

use std::time::Duration;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    anyone::Anyone,
    body::JsonBody,
    freshness::{Asker, catch_up, unavailable},
    metrics,
    reply::Answer,
    wire::verdict::{BatchVerdicts, VerdictBody, VerifyBatch, VerifyToken},
};
use crate::{
    limits::SETTLE_TRIES_MAX,
    verify::{Reason, Verdict, decide, decide_settled},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(verify)).routes(routes!(verify_batch))
}

/// Verify a token
///
/// Verifies a token's signature, expiration, and scope. This endpoint does not require
/// authentication – it's designed to be called by your services receiving tokens.
#[utoipa::path(
    post, path = "/tokens/verify", tag = "Tokens", operation_id = "verifyToken",
    request_body = VerifyToken,
    responses((status = 200, description = "The verdict.", body = VerdictBody)),
    security(()),
)]
async fn verify(
    Anyone(asker): Anyone,
    State(app): State<App>,
    JsonBody(question): JsonBody<VerifyToken>,
) -> Answer<Json<VerdictBody>> {
    let verdicts = answers(&app, asker, std::slice::from_ref(&question)).await?;
    let verdict = verdicts.into_iter().next().ok_or_else(|| unavailable(&app))?;
    Ok(Json(counted(verdict)))
}

/// Verify up to 100 tokens
///
/// Verify up to 100 tokens in a single request. Each gets a verdict of its own, in order.
#[utoipa::path(
    post, path = "/tokens/verify/batch", tag = "Tokens", operation_id = "verifyTokens",
    request_body = VerifyBatch,
    responses((status = 200, description = "The verdicts.", body = BatchVerdicts)),
    security(()),
)]
async fn verify_batch(
    Anyone(asker): Anyone,
    State(app): State<App>,
    JsonBody(batch): JsonBody<VerifyBatch>,
) -> Answer<Json<BatchVerdicts>> {
    let verdicts = answers(&app, asker, &batch.into_questions()).await?;
    Ok(Json(BatchVerdicts { results: verdicts.into_iter().map(counted).collect() }))
}

/// What one look at the view says of a token.
enum Look {
    Says(Verdict),
    /// Only the newest view can tell whether it was ever issued.
    Unseen,
    /// It expires about now, this many milliseconds from now at the latest: another node may still
    /// call it valid.
    Expiring(u64),
}

/// A verdict for each question, in order. Where there is none at once, it is asked again: of a view that
/// holds all that was issued before the first time, and once what expires about then has expired.
async fn answers(app: &App, asker: Asker, questions: &[VerifyToken]) -> Answer<Vec<Verdict>> {
    let mut verdicts = vec![None; questions.len()];
    let mut caught_up = false;
    for _ in 0..SETTLE_TRIES_MAX {
        let (mut unseen, mut wait_ms) = (false, 0);
        let open = verdicts.iter_mut().zip(questions).filter(|(verdict, _)| verdict.is_none());
        for (verdict, question) in open {
            match look(app, question, caught_up)? {
                Look::Says(said) => *verdict = Some(said),
                Look::Unseen => unseen = true,
                Look::Expiring(ms) => wait_ms = wait_ms.max(ms),
            }
        }
        if !unseen && wait_ms == 0 {
            return Ok(verdicts.into_iter().flatten().collect());
        }
        if unseen {
            catch_up(app, asker).await?;
            caught_up = true;
        }
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    Err(unavailable(app))
}

fn look(app: &App, question: &VerifyToken, caught_up: bool) -> Answer<Look> {
    let Some(moment) = app.handle.serves_at() else { return Err(unavailable(app)) };
    let view = app.views.load();
    let decide = if caught_up { decide_settled } else { decide };
    let at = |ms| decide(&view, &app.issuer, ms, &question.question());
    Ok(match at(moment.at_most_ms) {
        Verdict::Unseen => Look::Unseen,
        expired @ Verdict::Invalid(Reason::Expired) => match at(moment.surely_ms) {
            Verdict::Invalid(Reason::Expired) => Look::Says(expired),
            Verdict::Valid(_) | Verdict::Invalid(_) | Verdict::Unseen => {
                Look::Expiring(moment.at_most_ms.saturating_sub(moment.surely_ms) + 1)
            }
        },
        said @ (Verdict::Valid(_) | Verdict::Invalid(_)) => Look::Says(said),
    })
}

fn counted(verdict: Verdict) -> VerdictBody {
    metrics::verdict(match &verdict {
        Verdict::Invalid(reason) => Some(*reason),
        Verdict::Valid(_) | Verdict::Unseen => None,
    });
    verdict.into()
}
