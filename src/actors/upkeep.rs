//! The upkeep actor: what must be done because time has passed.
//!
//! Expired tokens leave the state by a command, not by a timer, so that every replica forgets the
//! same. The core says whether such a command is due. When API keys were last used is collected
//! here and reported once a minute.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::warn;

use super::{Call, CommandError, Proposals};
use crate::{
    clock,
    domain::{Action, ApiKeyId, Level, Millis, Plan},
    limits,
    verify::Views,
};

const ROUND_EVERY: Duration = Duration::from_secs(1);
/// Rounds between two reports of key use.
const ROUNDS_PER_REPORT: u32 = 60;

/// When API keys were last used on this node, until it is reported. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KeyUse(Arc<Mutex<BTreeMap<ApiKeyId, Millis>>>);

impl KeyUse {
    /// Notes that a key was used. When [`limits::KEY_USES_REMEMBERED_MAX`] others are waiting to be
    /// reported, this use goes unnoted.
    pub fn note(&self, key: ApiKeyId, at: Millis) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < limits::KEY_USES_REMEMBERED_MAX || uses.contains_key(&key) {
            uses.insert(key, at);
        }
    }

    fn drain(&self) -> Vec<(ApiKeyId, Millis)> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *uses).into_iter().collect()
    }
}

/// The only message: another second has passed.
pub(super) struct Round;

/// What the actor is started with, and again after a crash.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) node: u64,
    pub(super) proposals: Proposals,
    pub(super) views: Views,
    pub(super) key_use: KeyUse,
    pub(super) plans: Vec<Plan>,
    pub(super) operator_plans: Vec<String>,
    pub(super) may_serve: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What still has to be put into force.
pub(super) struct Due {
    plans: bool,
    operator_plans: bool,
}

/// The actor, the rounds that it has made, and what is due.
pub(super) struct UpkeepActor;

impl Actor for UpkeepActor {
    type Msg = Round;
    type State = (Arguments, u32, Due);
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Round>,
        arguments: Arguments,
    ) -> Result<(Arguments, u32, Due), ActorProcessingErr> {
        myself.send_interval(ROUND_EVERY, || Round);
        Ok((arguments, 0, Due { plans: true, operator_plans: true }))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Round>,
        _round: Round,
        (arguments, rounds, due): &mut (Arguments, u32, Due),
    ) -> Result<(), ActorProcessingErr> {
        *rounds = rounds.wrapping_add(1);
        if !(arguments.may_serve)() {
            return Ok(());
        }
        // Once a start, so that nodes that are configured otherwise do not take turns.
        if due.plans {
            match arguments.set_plans().await {
                Ok(()) => due.plans = false,
                Err(error) => warn!(%error, "the configured plans are not in force yet"),
            }
        }
        // The same, but only once the cluster is raised to the level that it takes.
        if due.operator_plans && arguments.views.load().state.level >= Level::BOUNDED {
            match arguments.set_operator_plans().await {
                Ok(()) => due.operator_plans = false,
                Err(error) => warn!(%error, "who may choose which plan is not in force yet"),
            }
        }
        if let Err(error) = arguments.round(*rounds).await {
            warn!(%error, "upkeep was put off");
        }
        Ok(())
    }
}

impl Arguments {
    async fn set_plans(&self) -> Result<(), CommandError> {
        if self.views.load().state.offers(&self.plans) {
            return Ok(());
        }
        self.propose(Action::SetPlans(self.plans.clone())).await
    }

    async fn set_operator_plans(&self) -> Result<(), CommandError> {
        if !self.views.load().state.lacks_operator_plans(&self.operator_plans) {
            return Ok(());
        }
        self.propose(Action::SetOperatorPlans(self.operator_plans.clone())).await
    }

    async fn round(&self, rounds: u32) -> Result<(), CommandError> {
        if rounds.is_multiple_of(ROUNDS_PER_REPORT) {
            let uses = self.key_use.drain();
            if !uses.is_empty() {
                self.propose(Action::TouchApiKeys(uses)).await?;
            }
        }
        while self.views.load().state.is_tick_due(clock::now_ms()) {
            self.propose(Action::Tick(())).await?;
        }
        Ok(())
    }

    async fn propose(&self, action: Action) -> Result<(), CommandError> {
        self.proposals.propose(Call::of_node(self.node), action).await.map(|_| ())
    }
}
