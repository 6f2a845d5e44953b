//! Freshness: when this node may answer, and how it catches up with the leader.
//!
//! A node answers only while it may serve (its lease holds). A token that is signed well but
//! unknown, or a client that names a log index, needs the node to catch up: one read-index round
//! to the leader, shared by all who wait. A round counts only for those who came before it began,
//! so at most one is in flight and one is queued; whoever finds too many waiting gets a 503 at
//! once. Knows nothing of what is read.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authrai_cluster::Unavailable;
use axum::http::{HeaderMap, HeaderName};
use tokio::sync::{OnceCell, Semaphore};

use super::{
    App,
    error::{not_found, shutting_down},
    metrics,
    problem::{Code, Problem},
    reply::{Answer, PathId},
};
use crate::{
    domain::{Agent, AgentId, Kind, Tenant},
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

/// Rounds to the leader, shared by those who wait.
#[derive(Debug)]
pub struct Rounds<T> {
    waiters: Semaphore,
    /// One round in flight at a time.
    turn: tokio::sync::Mutex<()>,
    /// The round that has not begun yet.
    queued: Mutex<Option<Arc<OnceCell<T>>>>,
}

impl<T: Clone> Rounds<T> {
    /// No round yet; at most `waiters_max` callers wait at a time.
    pub fn new(waiters_max: usize) -> Self {
        Self {
            waiters: Semaphore::new(waiters_max),
            turn: tokio::sync::Mutex::default(),
            queued: Mutex::default(),
        }
    }

    /// The outcome of a round that begins after this call; `None` when too many wait already.
    pub async fn next<F: Future<Output = T>>(&self, round: impl FnOnce() -> F) -> Option<T> {
        let _place = self.waiters.try_acquire().ok()?;
        let mine = Arc::clone(self.queue().get_or_insert_default());
        // If the caller that runs the round goes away, another of its waiters runs it anew.
        let outcome = mine
            .get_or_init(|| async {
                let _turn = self.turn.lock().await;
                self.close(&mine);
                round().await
            })
            .await;
        Some(outcome.clone())
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

/// The rounds of one node: each asks the leader how far the log is committed.
pub type ReadRounds = Rounds<Result<u64, Unavailable>>;

impl Default for ReadRounds {
    fn default() -> Self {
        Self::new(limits::ROUND_WAITERS_MAX)
    }
}

/// Waits until this node has applied all that was committed when the call was made.
pub async fn catch_up(app: &App) -> Result<(), Problem> {
    let committed = committed_index(app).await?;
    wait_applied(app, committed).await
}

/// What `look` finds in this node's view. Only a node that has caught up says that there is nothing:
/// another may have answered its creation a moment ago.
pub async fn find<T>(app: &App, kind: Kind, look: impl Fn(&View) -> Option<T>) -> Answer<T> {
    if let Some(found) = look(&app.views.load()) {
        return Ok(found);
    }
    catch_up(app).await?;
    look(&app.views.load()).ok_or_else(|| not_found(kind))
}

/// The agent with this id, if the tenant has it.
pub async fn find_agent(app: &App, tenant: Tenant, id: AgentId) -> Answer<Arc<Agent>> {
    find(app, AgentId::KIND, |view| {
        view.state.agents.get(&id).filter(|agent| agent.tenant == tenant).cloned()
    })
    .await
}

/// Waits, if the request names a log index, until this node has applied it.
pub async fn wait_for_min_index(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(&MIN_INDEX) else { return Ok(()) };
    let wanted: u64 = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Problem::new(
            Code::INVALID_HEADER,
            "AuthRAI-Min-Index must be a whole number: the AuthRAI-Log-Index that a write was \
             answered with.",
        )
    })?;
    if app.handle.applied_index() >= wanted {
        return Ok(());
    }
    if app.handle.last_log_index() < wanted {
        let committed = committed_index(app).await?;
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
    wait_applied(app, wanted).await
}

async fn committed_index(app: &App) -> Result<u64, Problem> {
    let outcome = app.rounds.next(|| app.handle.read_index(wait())).await;
    match outcome {
        Some(Ok(index)) => Ok(index),
        Some(Err(Unavailable::ShuttingDown)) => Err(shutting_down()),
        Some(Err(_)) => Err(unavailable(app)),
        None => Err(Problem::new(
            Code::OVERLOADED,
            "Too many requests wait for this node to catch up with the leader. Ask again \
             shortly, or ask another node.",
        )),
    }
}

async fn wait_applied(app: &App, index: u64) -> Result<(), Problem> {
    match app.handle.wait_applied(index, wait()).await {
        Ok(_) => Ok(()),
        Err(Unavailable::ShuttingDown) => Err(shutting_down()),
        Err(_) => Err(Problem::new(
            Code::INDEX_NOT_REACHED,
            format!(
                "This node has applied the log up to {}, and did not reach {index} in time. Ask \
                 again shortly, or ask another node.",
                app.handle.applied_index()
            ),
        )),
    }
}

fn wait() -> Duration {
    Duration::from_millis(limits::MIN_INDEX_WAIT_MS)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_one_round_and_newcomers_get_the_next() {
        let rounds = Arc::new(Rounds::new(100));
        let (begun, go) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (rounds, begun, go) = (Arc::clone(&rounds), Arc::clone(&begun), Arc::clone(&go));
            tokio::spawn(async move {
                rounds
                    .next(|| async move {
                        let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                        go.notified().await;
                        number
                    })
                    .await
            })
        };
        let first = ask();
        while begun.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (0..10).map(|_| ask()).collect();
        while rounds.waiters.available_permits() > 100 - 11 {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1, "one in flight");
        go.notify_one();
        assert_eq!(first.await.unwrap(), Some(1));
        while begun.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for one in later {
            assert_eq!(one.await.unwrap(), Some(2), "who came during round 1 is served by round 2");
        }
    }

    #[tokio::test]
    async fn a_round_outlives_the_caller_that_ran_it() {
        let rounds = Arc::new(Rounds::new(2));
        let stuck = tokio::spawn({
            let rounds = Arc::clone(&rounds);
            async move { rounds.next(std::future::pending::<u8>).await }
        });
        while rounds.waiters.available_permits() == 2 {
            tokio::task::yield_now().await;
        }
        let mut second = Box::pin(rounds.next(|| async { 2 }));
        assert!(futures_util::poll!(&mut second).is_pending());
        stuck.abort();
        assert_eq!(second.await, Some(2));
    }

    #[tokio::test]
    async fn waiters_are_bounded() {
        let rounds = Rounds::new(1);
        let mut waiting = Box::pin(rounds.next(std::future::pending::<u8>));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(rounds.next(|| async { 1 }).await, None);
    }
}
