//! The policies actor: says what a tenant's policies make of a token request.
//!
//! It keeps compiled policies of the tenants that ask, by the epoch of their policies, and has a
//! bounded number of threads evaluate them: conditions cost what they cost, and never a thread that
//! serves others. Rules that somebody writes are checked on the same threads. Decides nothing that
//! counts: the core does, and refuses a judgement that has become stale.

use std::{collections::BTreeMap, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    sync::{OnceCell, oneshot},
    task::spawn_blocking,
};

use super::{CommandError, slot::Slot};
use crate::{
    clock,
    domain::{
        Agent, AgentId, CheckedRules, DefaultEffect, End, Judged, Kind, OrgId, Policy, PolicyId,
        Refusal, Tenant, Verdict,
    },
    fair::{Gate, Pass, Supply, Turns},
    limits,
    policy::{self, CompiledPolicy, Explanation, FieldFault, PolicySet, Question, RuleDraft},
    verify::{View, Views},
};

/// A token request, to be judged.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Whose agent it is for.
    pub tenant: Tenant,
    /// Whom it is for.
    pub agent: AgentId,
    /// What the token is to allow.
    pub scope: Vec<String>,
    /// How long it is to live, seconds.
    pub ttl_s: u64,
    /// Where it may be used.
    pub target_service: String,
    /// What it is for.
    pub intent: Option<String>,
    /// Whether the agent signed the request.
    pub signed: bool,
}

/// What the policies say of a request, and to what they looked.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The decision, apart from counting, with every rule that matched.
    pub explanation: Explanation,
    /// The state that was looked at.
    pub view: Arc<View>,
    /// The agent as it was then.
    pub agent: Arc<Agent>,
}

/// Why rules that somebody wrote were not checked, or did not pass.
#[derive(Debug)]
pub enum CheckError {
    /// They are wrong.
    Faults(Vec<FieldFault>),
    /// They could not be checked.
    Command(CommandError),
}

impl From<CommandError> for CheckError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// What is asked of the actor.
struct Asked {
    request: TokenRequest,
    view: Arc<View>,
    agent: Arc<Agent>,
    default: DefaultEffect,
}

type Answer = Result<Explanation, CommandError>;

/// One request in the mailbox, already admitted.
pub(super) struct Message {
    permit: Pass<OrgId>,
    asked: Asked,
    /// Every rule that matches, or those that decide.
    in_full: bool,
    reply: oneshot::Sender<Answer>,
}

/// Typed access to the policies actor.
#[derive(Clone)]
pub struct Policies {
    slot: Slot<Message>,
    views: Views,
    places: Gate<OrgId>,
    threads: Threads,
}

impl Policies {
    pub(super) fn new(slot: Slot<Message>, arguments: &Arguments) -> Self {
        Self {
            slot,
            views: arguments.views.clone(),
            places: arguments.places.clone(),
            threads: arguments.threads.clone(),
        }
    }

    /// Judges a request by the policies as this node has applied them.
    ///
    /// # Errors
    ///
    /// When there is no such agent, or too many requests wait to be judged.
    pub async fn judge(&self, request: TokenRequest) -> Result<Judged, CommandError> {
        let asked = self.look(request)?;
        let state = &asked.view.state;
        let tenant = asked.request.tenant;
        let judged = Judged {
            verdict: Verdict { throttles: Vec::new(), end: default_end(asked.default) },
            policy_epoch: state.policy_epoch(tenant),
            agent: asked.agent.policy_digest(),
            at: clock::now_ms(),
        };
        if !state.policies_of(tenant).any(|policy| policy.is_active) {
            return Ok(judged);
        }
        // As old as its evaluation, however long it waited for its turn: the epochs are of before.
        let verdict = self.ask(asked, false).await?.verdict;
        Ok(Judged { verdict, at: clock::now_ms(), ..judged })
    }

    /// The same, with every rule that matches, for people who wonder; and what `show` makes of it,
    /// on the same threads, since so many rules can match that showing them is work too.
    ///
    /// # Errors
    ///
    /// As [`Policies::judge`].
    pub async fn explain<T: Send + 'static>(
        &self,
        request: TokenRequest,
        show: impl FnOnce(&Explained) -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        let asked = self.look(request)?;
        let org = asked.request.tenant.org;
        let (view, agent) = (Arc::clone(&asked.view), Arc::clone(&asked.agent));
        let explanation = self.ask(asked, true).await?;
        let explained = Explained { explanation, view, agent };
        let _place = self.places.enter(org)?;
        let cost = 1 + explained.explanation.matched.len() as u64 / limits::RULES_MAX as u64;
        self.threads.run(org, cost, move || show(&explained)).await
    }

    /// Checks rules that somebody wrote.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them; or too many wait.
    pub async fn check(
        &self,
        org: OrgId,
        drafts: Vec<RuleDraft>,
    ) -> Result<CheckedRules, CheckError> {
        let _place = self.places.enter(org).map_err(CommandError::from)?;
        let conditions = drafts.iter().filter(|draft| draft.condition.is_some()).count();
        let cost = 1 + conditions as u64;
        let checked = self.threads.run(org, cost, move || policy::check(&drafts));
        checked.await?.map_err(CheckError::Faults)
    }

    fn look(&self, request: TokenRequest) -> Result<Asked, CommandError> {
        let view = self.views.load_full();
        let state = &view.state;
        let not_found = |kind| CommandError::Refused(Refusal::NotFound(kind));
        let agent = state.agents.get(&request.agent);
        let agent = agent.filter(|agent| agent.tenant == request.tenant).cloned();
        let agent = agent.ok_or(not_found(Kind::Agent(())))?;
        let org = state.organizations.get(&request.tenant.org);
        let default = org.ok_or(not_found(Kind::Organization(())))?.default_effect;
        Ok(Asked { request, agent, default, view })
    }

    async fn ask(&self, asked: Asked, in_full: bool) -> Answer {
        let permit = self.places.enter(asked.request.tenant.org)?;
        self.slot.call(|reply| Message { permit, asked, in_full, reply }).await?
    }
}

fn default_end(default: DefaultEffect) -> End {
    match default {
        DefaultEffect::Allow => End::Allow(None),
        DefaultEffect::Deny => End::Deny(None),
    }
}

/// The threads that evaluate policies, given to organisations in turn.
#[derive(Debug, Clone)]
pub(super) struct Threads(Turns<OrgId>);

impl Default for Threads {
    /// One organisation has all but one of them at most, so that whoever comes next finds a free
    /// one.
    fn default() -> Self {
        let threads = limits::POLICY_THREADS_MAX;
        Self(Turns::new(Supply::new(threads, threads)))
    }
}

impl Threads {
    /// Runs `work` when it is the turn of `org`; its turn lasts until the work is done, also when
    /// nobody waits for it any longer.
    async fn run<T: Send + 'static>(
        &self,
        org: OrgId,
        cost: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        let turn = self.0.take(org, cost).await;
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| {
            CommandError::Failed(format!("policies could not be evaluated: {error}"))
        })
    }
}

/// What evaluating policies costs that take so many steps, in turns.
const fn turns_of(steps: u64) -> u64 {
    1 + steps / limits::POLICY_STEPS_A_TURN
}

/// What the actor is started with, and again after a crash.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) views: Views,
    /// Requests that wait or are served.
    pub(super) places: Gate<OrgId>,
    /// The threads that evaluate.
    pub(super) threads: Threads,
}

impl Arguments {
    pub(super) fn new(views: Views) -> Self {
        let places = Supply::new(
            limits::JUDGEMENTS_WAITING_MAX,
            limits::JUDGEMENTS_WAITING_PER_ORGANIZATION_MAX,
        );
        Self { views, places: Gate::new(places), threads: Threads::default() }
    }
}

/// The compiled policies of a tenant.
struct Compiled {
    set: PolicySet,
    /// What evaluating them costs.
    turns: u64,
    policies: BTreeMap<PolicyId, CompiledPolicy>,
}

/// The compiled policies of a tenant at an epoch, once the first who asked has compiled them.
#[derive(Clone)]
struct Entry {
    epoch: u64,
    compiled: Arc<OnceCell<Arc<Compiled>>>,
}

/// The actor, and the compiled policies that it keeps.
pub(super) struct PoliciesActor;

/// What the actor keeps.
pub(super) struct Kept {
    arguments: Arguments,
    entries: BTreeMap<Tenant, Entry>,
}

impl Actor for PoliciesActor {
    type Msg = Message;
    type State = Kept;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Message>,
        arguments: Arguments,
    ) -> Result<Kept, ActorProcessingErr> {
        Ok(Kept { arguments, entries: BTreeMap::new() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Message>,
        Message { permit, asked, in_full, reply }: Message,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        let (entry, older) = kept.entry(&asked);
        let threads = kept.arguments.threads.clone();
        tokio::spawn(async move {
            // Whoever asked may be gone by then.
            let _ = reply.send(serve(&threads, &entry, older, asked, in_full).await);
            drop(permit);
        });
        Ok(())
    }
}

impl Kept {
    /// The entry for the epoch that is asked by, and what an older one had compiled.
    fn entry(&mut self, asked: &Asked) -> (Entry, Option<Arc<Compiled>>) {
        let tenant = asked.request.tenant;
        let epoch = asked.view.state.policy_epoch(tenant);
        let known = self.entries.get(&tenant);
        let older = known.and_then(|entry| entry.compiled.get().cloned());
        if let Some(entry) = known.filter(|entry| entry.epoch == epoch) {
            return (entry.clone(), older);
        }
        // Any one: what is asked for again is compiled again.
        if known.is_none()
            && self.entries.len() >= limits::POLICY_SETS_KEPT_MAX
            && let Some(some) = self.entries.keys().next().copied()
        {
            self.entries.remove(&some);
        }
        let entry = Entry { epoch, compiled: Arc::default() };
        self.entries.insert(tenant, entry.clone());
        (entry, older)
    }
}

async fn serve(
    threads: &Threads,
    entry: &Entry,
    older: Option<Arc<Compiled>>,
    asked: Asked,
    in_full: bool,
) -> Answer {
    let org = asked.request.tenant.org;
    let compile = || async {
        let (view, tenant) = (Arc::clone(&asked.view), asked.request.tenant);
        let turns = turns_of(view.state.policies_of(tenant).map(|policy| policy.steps).sum());
        let compile =
            move || Arc::new(Compiled::new(view.state.policies_of(tenant), older.as_deref()));
        threads.run(org, turns, compile).await
    };
    let compiled = Arc::clone(entry.compiled.get_or_try_init(compile).await?);
    threads.run(org, compiled.turns, move || evaluate(&compiled.set, &asked, in_full)).await
}

fn evaluate(set: &PolicySet, asked: &Asked, in_full: bool) -> Explanation {
    let Asked { request, agent, default, .. } = asked;
    let question = Question {
        agent,
        scope: &request.scope,
        ttl_s: request.ttl_s,
        target_service: &request.target_service,
        intent: request.intent.as_deref(),
        signed: request.signed,
        now_ms: clock::now_ms(),
    };
    if in_full {
        set.explain(&question, *default)
    } else {
        Explanation { verdict: set.decide(&question, *default), matched: Vec::new() }
    }
}

impl Compiled {
    /// Compiles `policies`, those that have changed since `older`.
    fn new<'a>(policies: impl Iterator<Item = &'a Arc<Policy>>, older: Option<&Self>) -> Self {
        let compile = |policy: &Arc<Policy>| {
            let known = older.and_then(|older| older.policies.get(&policy.id));
            match known.filter(|known| known.source() == policy) {
                Some(known) => known.clone(),
                None => CompiledPolicy::new(policy),
            }
        };
        let policies: BTreeMap<_, _> = policies
            .filter(|policy| policy.is_active)
            .map(|policy| (policy.id, compile(policy)))
            .collect();
        let steps = policies.values().map(|policy| policy.source().steps).sum();
        Self { set: PolicySet::new(policies.values()), turns: turns_of(steps), policies }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::check::{gate_is_shared, turns_are_shared};

    #[test]
    fn one_organisation_does_not_keep_the_others_from_being_judged() {
        let arguments = Arguments::new(Views::default());
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        gate_is_shared(&arguments.places, attacker, other);
        turns_are_shared(&arguments.threads.0, attacker, other);
    }
}
