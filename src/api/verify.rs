//! Verification over HTTP: no key needed, answered from this node's memory.
//!
//! In this order: read the clock, ask whether the node may serve, load the view, decide. Only a
//! token that is signed well and unknown costs more: one round to the leader, shared with whoever
//! else waits for one, and then the question is put again. A round that fails is a 503, never a
//! verdict. Knows nothing of how a verdict is found.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    body::JsonBody,
    freshness::{catch_up, unavailable},
    metrics,
    reply::Answer,
    wire::verdict::{BatchVerdicts, VerdictBody, VerifyBatch, VerifyToken},
};
use crate::{
    clock,
    verify::{Verdict, decide, decide_settled},
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
    State(app): State<App>,
    JsonBody(question): JsonBody<VerifyToken>,
) -> Answer<Json<VerdictBody>> {
    let verdict = match ask(&app, &question)? {
        Verdict::Unseen => {
            catch_up(&app).await?;
            ask_settled(&app, &question)?
        }
        verdict => verdict,
    };
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
    State(app): State<App>,
    JsonBody(batch): JsonBody<VerifyBatch>,
) -> Answer<Json<BatchVerdicts>> {
    let questions = batch.into_questions();
    let mut verdicts =
        questions.iter().map(|question| ask(&app, question)).collect::<Answer<Vec<_>>>()?;
    if verdicts.contains(&Verdict::Unseen) {
        catch_up(&app).await?;
        for (verdict, question) in verdicts.iter_mut().zip(&questions) {
            if *verdict == Verdict::Unseen {
                *verdict = ask_settled(&app, question)?;
            }
        }
    }
    Ok(Json(BatchVerdicts { results: verdicts.into_iter().map(counted).collect() }))
}

fn ask(app: &App, question: &VerifyToken) -> Answer<Verdict> {
    let now_ms = clock::now_ms();
    if !app.handle.may_serve() {
        return Err(unavailable());
    }
    Ok(decide(&app.views.load(), &app.issuer, now_ms, &question.question()))
}

/// Asks again, of a view that holds all that was issued before the first question.
fn ask_settled(app: &App, question: &VerifyToken) -> Answer<Verdict> {
    let now_ms = clock::now_ms();
    if !app.handle.may_serve() {
        return Err(unavailable());
    }
    Ok(decide_settled(&app.views.load(), &app.issuer, now_ms, &question.question()))
}

fn counted(verdict: Verdict) -> VerdictBody {
    metrics::verdict(match &verdict {
        Verdict::Invalid(reason) => Some(*reason),
        Verdict::Valid(_) | Verdict::Unseen => None,
    });
    verdict.into()
}
