//! Freshness: when this node may answer, and how it catches up with the leader.
//!
//! A node answers only while it may serve (its lease holds). A token that is signed well but
//! unknown, or a client that names a log index, needs the node to catch up: one read-index round
//! to the leader, shared by all who wait. A round counts only for those who came before it began,
//! so at most one is in flight and one is queued. Callers with a key and those without wait in
//! queues of their own, each with shares, so that neither displaces the other; whoever finds its
//! share taken gets a 429 or a 503 at once. Knows nothing of what is read.

use std::{
    future::Future,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authrai_cluster::Unavailable;
use axum::http::{HeaderMap, HeaderName};
use tokio::sync::OnceCell;

use super::{
    App,
    error::{not_found, shutting_down},
    metrics,
    problem::{Code, Problem},
    reply::{Answer, PathId},
};
use crate::{
    domain::{Agent, AgentId, Kind, OrgId, Tenant},
    fair::{Full, Gate, Pass, Supply},
    limits,
    verify::View,
};

/// Asks a read for everything up to a log index.
pub static MIN_INDEX: HeaderName = HeaderName::from_static("authrai-min-index");

/// This node may not answer now; if it is known why, that is said.
pub fn unavailable(app: &App) -> Problem {
    metrics::unavailable();
    let (reason, why) = match app.handle.unready() {
        Some(reason) => (Some(reason.name()), format!(" {reason}")),
        None => (None, String::new()),
    };
    let problem = Problem::new(
        Code::VERIFICATION_UNAVAILABLE,
        format!(
            "This node is not sure to know the newest revocations, so it gives no answer. Ask again \
             shortly, or ask another node; until then treat the token or key as not valid.{why}"
        ),
    );
    problem.because(reason)
}

/// Who waits, and so of whose share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A key of this organisation; of the system's, an operator key.
    Organization(OrgId),
    /// Somebody without a key, in this network.
    Anonymous(IpAddr),
}

/// Rounds to the leader, shared by those who wait.
#[derive(Debug)]
pub struct Rounds<T> {
    /// One round in flight at a time.
    turn: tokio::sync::Mutex<()>,
    /// The round that has not begun yet.
    queued: Mutex<Option<Arc<OnceCell<T>>>>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { turn: tokio::sync::Mutex::default(), queued: Mutex::default() }
    }
}

impl<T: Clone> Rounds<T> {
    /// The outcome of a round that begins after this call.
    pub async fn next<F: Future<Output = T>>(&self, round: impl FnOnce() -> F) -> T {
        let mine = Arc::clone(self.queue().get_or_insert_default());
        // If the caller that runs the round goes away, another of its waiters runs it anew.
        let outcome = mine
            .get_or_init(|| async {
                let _turn = self.turn.lock().await;
                self.close(&mine);
                round().await
            })
            .await;
        outcome.clone()
    }

    /// From here on newcomers need a later round.
    fn close(&self, round: &Arc<OnceCell<T>>) {
        let mut queued = self.queue();
        if queued.as_ref().is_some_and(|queued| Arc::ptr_eq(queued, round)) {
            *queued = None;
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Option<Arc<OnceCell<T>>>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who wait, by their shares, and the rounds that they share.
#[derive(Debug)]
struct Queue<K: Ord + Clone> {
    waiting: Gate<K>,
    rounds: Rounds<Result<u64, Unavailable>>,
}

impl<K: Ord + Clone> Queue<K> {
    fn new(supply: Supply) -> Self {
        Self { waiting: Gate::new(supply), rounds: Rounds::default() }
    }
}

/// The queues of one node for rounds that ask the leader how far the log is committed, and for
/// waiting until this node has applied as much.
#[derive(Debug)]
pub struct ReadRounds {
    organizations: Queue<OrgId>,
    anonymous: Queue<IpAddr>,
}

impl Default for ReadRounds {
    fn default() -> Self {
        let total = limits::ROUND_WAITERS_MAX;
        let of_one = limits::ROUND_WAITERS_PER_ORGANIZATION_MAX;
        Self {
            organizations: Queue::new(Supply::new(total, of_one)),
            // Behind a proxy, everybody is in one network.
            anonymous: Queue::new(Supply::new(total, total)),
        }
    }
}

/// A place among those who wait.
enum Place {
    Organization(#[allow(dead_code, reason = "held for its drop")] Pass<OrgId>),
    Anonymous(#[allow(dead_code, reason = "held for its drop")] Pass<IpAddr>),
}

impl ReadRounds {
    fn enter(&self, asker: Asker) -> Result<Place, Full> {
        Ok(match asker {
            Asker::Organization(org) => Place::Organization(self.organizations.waiting.enter(org)?),
            Asker::Anonymous(network) => Place::Anonymous(self.anonymous.waiting.enter(network)?),
        })
    }

    fn of(&self, asker: Asker) -> &Rounds<Result<u64, Unavailable>> {
        match asker {
            Asker::Organization(_) => &self.organizations.rounds,
            Asker::Anonymous(_) => &self.anonymous.rounds,
        }
    }
}

/// Waits until this node has applied all that was committed when the call was made.
pub async fn catch_up(app: &App, asker: Asker) -> Result<(), Problem> {
    let _place = app.rounds.enter(asker).map_err(too_many_wait)?;
    let committed = committed_index(app, asker).await?;
    wait_applied(app, committed).await
}

/// What `look` finds in this node's view. Only a node that has caught up says that there is nothing:
/// another may have answered its creation a moment ago.
pub async fn find<T>(
    app: &App,
    org: OrgId,
    kind: Kind,
    look: impl Fn(&View) -> Option<T>,
) -> Answer<T> {
    if let Some(found) = look(&app.views.load()) {
        return Ok(found);
    }
    catch_up(app, Asker::Organization(org)).await?;
    look(&app.views.load()).ok_or_else(|| not_found(kind))
}

/// The agent with this id, if the tenant has it.
pub async fn find_agent(app: &App, tenant: Tenant, id: AgentId) -> Answer<Arc<Agent>> {
    find(app, tenant.org, AgentId::KIND, |view| {
        view.state.agents.get(&id).filter(|agent| agent.tenant == tenant).cloned()
    })
    .await
}

/// Waits, if the request of a caller with a key names a log index, until this node has applied it.
/// Whether it had to wait.
pub async fn wait_for_min_index(
    app: &App,
    org: OrgId,
    headers: &HeaderMap,
) -> Result<bool, Problem> {
    let Some(wanted) = min_index(headers)? else { return Ok(false) };
    if app.handle.applied_index() >= wanted {
        return Ok(false);
    }
    let asker = Asker::Organization(org);
    let _place = app.rounds.enter(asker).map_err(too_many_wait)?;
    if app.handle.last_log_index() < wanted {
        let committed = committed_index(app, asker).await?;
        let last = committed.max(app.handle.last_log_index());
        if last < wanted {
            return Err(Problem::new(
                Code::INDEX_UNKNOWN,
                format!(
                    "AuthRAI-Min-Index is {wanted}, but the log of this cluster ends at {last}. \
                     Send the AuthRAI-Log-Index that a write of this cluster was answered with."
                ),
            ));
        }
    }
    wait_applied(app, wanted).await?;
    Ok(true)
}

/// The same for a caller without a key, who must not learn where the log ends. Whatever index it
/// names, this node catches up with all that is committed by now, which is every index that a write
/// was answered with: neither the answer nor its time depends on the index. Only one that is out of
/// all proportion is refused.
pub async fn catch_up_for_min_index(
    app: &App,
    network: IpAddr,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let Some(wanted) = min_index(headers)? else { return Ok(()) };
    let asker = Asker::Anonymous(network);
    let _place = app.rounds.enter(asker).map_err(too_many_wait)?;
    let committed = committed_index(app, asker).await?;
    wait_applied(app, committed).await?;
    if is_out_of_proportion(wanted, committed) {
        return Err(Problem::new(
            Code::INDEX_UNKNOWN,
            "AuthRAI-Min-Index is far beyond the end of this cluster's log. Send the \
             AuthRAI-Log-Index that a write of this cluster was answered with.",
        ));
    }
    Ok(())
}

/// By how much, at least, an index is beyond the log to be refused to a caller without a key.
const PROPORTION: u128 = 1_024;

/// Whether `wanted` is more than [`PROPORTION`] times the power of it that `last` is within: all
/// that can be found out of `last` by trying is that power.
fn is_out_of_proportion(wanted: u64, last: u64) -> bool {
    let mut power = PROPORTION;
    while power < u128::from(last) {
        power *= PROPORTION;
    }
    u128::from(wanted) > power * PROPORTION
}

fn min_index(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(&MIN_INDEX) else { return Ok(None) };
    let wanted = value.to_str().ok().and_then(|text| text.parse().ok());
    wanted.map(Some).ok_or_else(|| {
        Problem::new(
            Code::INVALID_HEADER,
            "AuthRAI-Min-Index must be a whole number: the AuthRAI-Log-Index that a write was \
             answered with.",
        )
    })
}

fn too_many_wait(full: Full) -> Problem {
    match full {
        Full::Node => Problem::new(
            Code::OVERLOADED,
            "Too many requests wait for this node to catch up with the leader. Ask again \
             shortly, or ask another node.",
        ),
        Full::Share => Problem::new(
            Code::LIMIT_REACHED,
            "Too many of your requests wait for this node to catch up with the leader, and the \
             other places are kept for others. Wait until some are answered, or ask another node.",
        ),
    }
}

/// Called by one who holds a place.
async fn committed_index(app: &App, asker: Asker) -> Result<u64, Problem> {
    match app.rounds.of(asker).next(|| app.handle.read_index(wait())).await {
        Ok(index) => Ok(index),
        Err(Unavailable::ShuttingDown) => Err(shutting_down()),
        Err(_) => Err(unavailable(app)),
    }
}

async fn wait_applied(app: &App, index: u64) -> Result<(), Problem> {
    match app.handle.wait_applied(index, wait()).await {
        Ok(_) => Ok(()),
        Err(Unavailable::ShuttingDown) => Err(shutting_down()),
        Err(_) => Err(Problem::new(
            Code::INDEX_NOT_REACHED,
            "This node is behind the leader, and did not catch up in time. Ask again shortly, or \
             ask another node.",
        )),
    }
}

fn wait() -> Duration {
    Duration::from_millis(limits::MIN_INDEX_WAIT_MS)
}

#[cfg(test)]
mod tests;
