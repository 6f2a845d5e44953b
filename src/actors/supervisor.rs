//! The supervisor: starts the actors and starts them again when one dies.
//!
//! A child that dies is restarted at once, and after a pause if it keeps dying, so that a broken
//! disk does not spin a core. Must not know what the children do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use authrai_cluster::Handle;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::{
    Agents, Domains, KeyStore, KeyUse, Keys, Policies, Proposals,
    agents::{self, AgentsActor},
    domains::{self, Looker, RechecksActor},
    keys::{self, KeysActor},
    policies::{self, PoliciesActor},
    slot::Slot,
    upkeep::{self, UpkeepActor},
    webhooks::{self, Webhooks, WebhooksActor},
};
use crate::{
    audit::AuditLog, dns::Resolver, domain::Plan, machine::AuthMachine, secrets::KeyFile,
    verify::Views, webhooks::Deliverer,
};

/// Deaths of one child after which restarts are paused between.
const QUICK_RESTARTS_MAX: u32 = 3;
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What the actors need of the node that they work for.
pub struct Settings {
    /// The node's id.
    pub node: u64,
    /// Whether it has a vote, or is to get one; one without signs and writes nothing.
    pub voter: bool,
    /// The way to the cluster.
    pub handle: Handle<AuthMachine>,
    /// The applied state.
    pub views: Views,
    /// Where private signing keys are kept.
    pub key_store: KeyStore,
    /// The `iss` of tokens.
    pub issuer: Arc<str>,
    /// Age at which a signing key is replaced.
    pub rotate_keys_every: Duration,
    /// The audit log, which webhooks are sent from.
    pub audit: AuditLog,
    /// What seals the secrets of webhooks.
    pub key_file: Arc<KeyFile>,
    /// What posts to webhooks.
    pub deliverer: Deliverer,
    /// After how many seconds each further attempt at a webhook is made.
    pub retry_schedule: Arc<[u64]>,
    /// What asks the DNS.
    pub resolver: Resolver,
    /// How long a verified domain is left alone.
    pub recheck_domains_every: Duration,
    /// The plans to offer.
    pub plans: Vec<Plan>,
    /// The names of those that only an operator gives an organisation.
    pub operator_plans: Vec<String>,
}

/// The running actors of a node.
pub struct Supervisor {
    root: ActorRef<Restart>,
    finished: JoinHandle<()>,
    children: Children,
    /// Proposals that need no actor.
    pub proposals: Proposals,
    /// Agents and tokens.
    pub agents: Agents,
    /// What policies say of token requests.
    pub policies: Policies,
    /// This node's signing keys.
    pub keys: Keys,
    /// Where uses of API keys are noted.
    pub key_use: KeyUse,
    /// Webhook endpoints.
    pub webhooks: Webhooks,
    /// Checks of domains.
    pub domains: Domains,
}

impl Supervisor {
    /// Starts the actors.
    ///
    /// # Errors
    ///
    /// If an actor cannot be spawned at all.
    pub async fn start(settings: Settings) -> Result<Self, SpawnErr> {
        let proposals = Proposals::new(settings.handle.clone());
        let key_use = KeyUse::default();
        let children = Children::new(settings, &proposals, &key_use);
        let (root, finished) = Actor::spawn(None, Root, children.clone()).await?;
        Ok(Self {
            root,
            finished,
            policies: children.agents.policies.clone(),
            agents: Agents::new(children.agents_slot.clone(), proposals.clone()),
            domains: Domains::new(children.rechecks.looker.clone()),
            keys: Keys::new(children.keys_slot.clone(), Arc::clone(&children.keys.signer)),
            webhooks: children.webhooks.handle(),
            children,
            proposals,
            key_use,
        })
    }

    /// Stops the actors. Commands already under way travel on to their end, and so do deliveries
    /// within a bound.
    pub async fn stop(self) {
        self.children.webhooks.drain().await;
        self.root.stop(None);
        if let Err(error) = self.finished.await {
            warn!(%error, "the actors ended badly");
        }
    }

    /// Kills the agents actor, as a crash would. For tests of the restart.
    pub fn kill_agents(&self) {
        kill(&self.children.agents_slot);
    }

    /// Kills the policies actor, as a crash would. For tests of the restart.
    pub fn kill_policies(&self) {
        kill(&self.children.policies_slot);
    }

    /// Kills the webhooks actor and its endpoints, as a crash would. For tests of the restart.
    pub fn kill_webhooks(&self) {
        kill(&self.children.webhooks_slot);
    }

    /// Kills the keys actor, as a crash would. For tests of the restart.
    pub fn kill_keys(&self) {
        kill(&self.children.keys_slot);
    }
}

fn kill<M: ractor::Message>(slot: &Slot<M>) {
    if let Some(actor) = slot.current() {
        actor.kill();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Child {
    Agents,
    Keys,
    Policies,
    Upkeep,
    Webhooks,
    Rechecks,
}

const CHILDREN: [Child; 6] =
    [Child::Keys, Child::Policies, Child::Agents, Child::Upkeep, Child::Webhooks, Child::Rechecks];

/// How each child is started, and where it is then found.
#[derive(Clone)]
struct Children {
    agents: agents::Arguments,
    agents_slot: Slot<agents::Message>,
    keys: keys::Arguments,
    keys_slot: Slot<keys::Message>,
    policies: policies::Arguments,
    policies_slot: Slot<policies::Message>,
    upkeep: upkeep::Arguments,
    webhooks: webhooks::Arguments,
    webhooks_slot: Slot<webhooks::Round>,
    rechecks: domains::Arguments,
}

impl Children {
    fn new(settings: Settings, proposals: &Proposals, key_use: &KeyUse) -> Self {
        let Settings { node, handle, views, key_store, issuer, rotate_keys_every, .. } = settings;
        let Settings { resolver, recheck_domains_every, plans, operator_plans, voter, .. } =
            settings;
        let signer = Arc::new(ArcSwapOption::empty());
        let applied = handle.applied_watch();
        let leader = handle.clone();
        let leads: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(move || leader.leads());
        let may_write: Arc<dyn Fn() -> bool + Send + Sync> =
            Arc::new(move || voter && handle.may_serve());
        let policies = policies::Arguments::new(views.clone());
        let policies_slot = Slot::default();
        Self {
            agents: agents::Arguments {
                policies: Policies::new(policies_slot.clone(), &policies),
                proposals: proposals.clone(),
                signer: Arc::clone(&signer),
                issuer,
            },
            agents_slot: Slot::default(),
            keys: keys::Arguments {
                node,
                store: Arc::new(key_store),
                proposals: proposals.clone(),
                views: views.clone(),
                signer,
                rotate_every: rotate_keys_every,
                may_serve: Arc::clone(&may_write),
            },
            keys_slot: Slot::default(),
            webhooks: webhooks::Arguments::new(webhooks::Tools {
                node,
                proposals: proposals.clone(),
                views: views.clone(),
                applied,
                audit: settings.audit,
                keys: settings.key_file,
                deliverer: settings.deliverer,
                schedule: settings.retry_schedule,
                may_deliver: Arc::clone(&leads),
            }),
            webhooks_slot: Slot::default(),
            policies,
            policies_slot,
            upkeep: upkeep::Arguments {
                node,
                proposals: proposals.clone(),
                views: views.clone(),
                key_use: key_use.clone(),
                plans,
                operator_plans,
                may_serve: may_write,
            },
            rechecks: domains::Arguments {
                node,
                looker: Looker { resolver, proposals: proposals.clone(), views },
                every: recheck_domains_every,
                may_serve: leads,
            },
        }
    }

    async fn start(&self, child: Child, root: ActorCell) -> Result<ActorId, SpawnErr> {
        match child {
            Child::Agents => {
                let (actor, _) =
                    Actor::spawn_linked(None, AgentsActor, self.agents.clone(), root).await?;
                let id = actor.get_id();
                self.agents_slot.fill(actor);
                Ok(id)
            }
            Child::Keys => {
                let (actor, _) =
                    Actor::spawn_linked(None, KeysActor, self.keys.clone(), root).await?;
                let id = actor.get_id();
                self.keys_slot.fill(actor);
                Ok(id)
            }
            Child::Policies => {
                let (actor, _) =
                    Actor::spawn_linked(None, PoliciesActor, self.policies.clone(), root).await?;
                let id = actor.get_id();
                self.policies_slot.fill(actor);
                Ok(id)
            }
            Child::Upkeep => {
                let (actor, _) =
                    Actor::spawn_linked(None, UpkeepActor, self.upkeep.clone(), root).await?;
                Ok(actor.get_id())
            }
            Child::Webhooks => {
                let (actor, _) =
                    Actor::spawn_linked(None, WebhooksActor, self.webhooks.clone(), root).await?;
                let id = actor.get_id();
                self.webhooks_slot.fill(actor);
                Ok(id)
            }
            Child::Rechecks => {
                let (actor, _) =
                    Actor::spawn_linked(None, RechecksActor, self.rechecks.clone(), root).await?;
                Ok(actor.get_id())
            }
        }
    }
}

/// Asks the root to start a child again, after its pause.
struct Restart(Child);

struct Root;

struct Running {
    children: Children,
    by_id: BTreeMap<u64, Child>,
    deaths: BTreeMap<Child, u32>,
}

impl Actor for Root {
    type Msg = Restart;
    type State = Running;
    type Arguments = Children;

    async fn pre_start(
        &self,
        myself: ActorRef<Restart>,
        children: Children,
    ) -> Result<Running, ActorProcessingErr> {
        let mut by_id = BTreeMap::new();
        for child in CHILDREN {
            by_id.insert(children.start(child, myself.get_cell()).await?.pid(), child);
        }
        Ok(Running { children, by_id, deaths: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Restart>,
        Restart(child): Restart,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match running.children.start(child, myself.get_cell()).await {
            Ok(id) => {
                running.by_id.insert(id.pid(), child);
            }
            Err(error) => {
                error!(?child, %error, "an actor does not start; trying again");
                myself.send_after(RESTART_PAUSE, move || Restart(child));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Restart>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match &event {
            SupervisionEvent::ActorTerminated(who, _, why) => (who, why.clone()),
            SupervisionEvent::ActorFailed(who, why) => (who, Some(why.to_string())),
            _ => return Ok(()),
        };
        let Some(child) = running.by_id.remove(&who.get_id().pid()) else { return Ok(()) };
        let deaths = running.deaths.entry(child).or_default();
        *deaths += 1;
        warn!(?child, ?why, deaths = *deaths, "an actor died; starting it again");
        if *deaths <= QUICK_RESTARTS_MAX {
            myself.send_message(Restart(child))?;
        } else {
            myself.send_after(RESTART_PAUSE, move || Restart(child));
        }
        Ok(())
    }
}
