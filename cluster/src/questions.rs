//! What the users of two nodes ask each other: bytes that travel between members over the peers'
//! links and are never read here.
//!
//! A node without a vote proposes nothing; it passes on what it was asked to whoever may propose,
//! and that one checks it as if it had been asked itself. Whoever asks learns whether the question
//! may have been acted upon. Must not know what is asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::Machine;
use crate::forward::{until, wait_ms};
use crate::handle::{Core, Handle};
use crate::limits::RETRY_PAUSE_MAX;
use crate::peer::link::{CallError, Links, Target};
use crate::peer::server::Nothing;
use crate::peer::wire::Rpc;
use crate::peer::wire_questions::{Question, QuestionAnswer};
use crate::runtime::spawn;

/// An answer on its way; `None` if the question was not looked at, so that another node may be
/// asked.
pub type Answering = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// What answers the questions of other nodes.
pub trait Answerer: Send + Sync + 'static {
    /// Answers `question` of node `from`, which is a member by its certificate and the members.
    fn answer(&self, from: u64, question: Vec<u8>) -> Answering;
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody was there to take it; it had no effect.
    #[error("no member with a vote took the question in time")]
    NotTaken,
    /// It may have been acted upon.
    #[error("the question was sent and has no answer")]
    Unknown,
}

impl<M: Machine> Handle<M> {
    /// Answers other nodes' questions with `answerer` from now on, until the node is shut down.
    pub fn answer_with(&self, answerer: Arc<dyn Answerer>) {
        self.core().answer_with(Some(answerer));
    }

    /// Asks the leader, or another member with a vote while none is known.
    pub async fn ask_a_voter(
        &self,
        question: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, AskError> {
        let core = self.core();
        let until = Instant::now() + deadline;
        let mut question = Question { wait_ms: 0, bytes: question };
        loop {
            for target in core.voters() {
                question.wait_ms = wait_ms(until);
                match core.ask(&target, Rpc::Question, &question, until).await {
                    Ok(QuestionAnswer::Answered(answer)) => return Ok(answer),
                    Ok(QuestionAnswer::NotTaken) | Err(CallError::NotSent(_)) => {}
                    Err(error) => {
                        tracing::debug!(%error, node = target.node, "a question has no answer");
                        return Err(AskError::Unknown);
                    }
                }
            }
            if Instant::now() + RETRY_PAUSE_MAX >= until || core.check_running().is_err() {
                return Err(AskError::NotTaken);
            }
            sleep(RETRY_PAUSE_MAX).await;
        }
    }

    /// How many messages of each kind this node has sent to peers.
    pub fn messages_sent(&self) -> Vec<(&'static str, u64)> {
        self.core().links.as_ref().map(Links::sent).unwrap_or_default()
    }
}

impl<M: Machine> Core<M> {
    pub(crate) fn answer_with(&self, answerer: Option<Arc<dyn Answerer>>) {
        *self.answerer.lock().unwrap_or_else(PoisonError::into_inner) = answerer;
    }

    /// The other voters, the leader first.
    pub(crate) fn voters(&self) -> Vec<Target> {
        let known = self.roster.known();
        let leader = self.leader_elsewhere();
        let first = leader.as_ref().map(|leader| leader.node);
        let nodes = known.membership.membership().nodes();
        let rest = nodes.filter(|(id, _)| {
            known.is_voter(**id) && **id != self.identity.node && Some(**id) != first
        });
        leader.into_iter().chain(rest.map(|(id, member)| Target::member(*id, member))).collect()
    }

    /// Answers a question of the member `from`; nothing where it is not known what came of it.
    pub(crate) async fn answer_question(
        &self,
        from: u64,
        question: Question,
    ) -> Result<QuestionAnswer, Nothing> {
        let Question { wait_ms, bytes } = question;
        let answerer = self.answerer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(answerer) = answerer.filter(|_| self.check_running().is_ok()) else {
            return Ok(QuestionAnswer::NotTaken);
        };
        // In a task of its own: what was begun is finished, also when the asker has gone.
        let answering = spawn(answerer.answer(from, bytes));
        match timeout_at(until(wait_ms), answering).await {
            Ok(Ok(None)) => Ok(QuestionAnswer::NotTaken),
            Ok(Ok(Some(answer))) => Ok(QuestionAnswer::Answered(answer)),
            Ok(Err(_)) | Err(_) => Err(Nothing),
        }
    }
}
