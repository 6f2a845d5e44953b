//! The keys actor: which key this node signs tokens with.
//!
//! A key is made here, kept here, and its public half registered through the log before it signs
//! anything. It is replaced on a schedule, on command, and when it is revoked; the private half is
//! deleted as soon as it signs no more. Must not know what is signed.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{Call, CommandError, Done, KeyStore, Proposals, agents::expect, slot::Slot};
use crate::{
    clock,
    domain::{self, Action, Outcome, RegisterSigningKey, SigningKey, SigningKeyId},
    mint, secrets, token,
    verify::Views,
};

/// How often the actor looks whether its key is still good and young enough.
const INSPECTION_EVERY: Duration = Duration::from_secs(1);

/// The key that this node signs with.
pub(super) struct NodeSigner {
    pub(super) id: SigningKeyId,
    pub(super) signer: token::Signer,
}

type Reply = oneshot::Sender<Result<Done<Arc<SigningKey>>, CommandError>>;

/// What the actor can be asked.
pub(super) enum Message {
    /// Look whether a key is wanted.
    Inspect,
    /// Replace the key now.
    Rotate(Call, Reply),
    /// Declare a key compromised, this node's or another's.
    Revoke(Call, SigningKeyId, Reply),
}

/// Typed access to the keys actor.
#[derive(Clone)]
pub struct Keys {
    slot: Slot<Message>,
    signer: Arc<ArcSwapOption<NodeSigner>>,
}

impl Keys {
    pub(super) fn new(slot: Slot<Message>, signer: Arc<ArcSwapOption<NodeSigner>>) -> Self {
        Self { slot, signer }
    }

    /// Whether this node has a registered key to sign tokens with.
    pub fn can_sign(&self) -> bool {
        self.signer.load().is_some()
    }

    /// Replaces this node's signing key. The old one is published until the last token signed with
    /// it has expired.
    pub async fn rotate(&self, call: Call) -> Result<Done<Arc<SigningKey>>, CommandError> {
        self.slot.call(|reply| Message::Rotate(call, reply)).await?
    }

    /// Revokes a signing key: every token that it signed is dead. This node's own is replaced.
    pub async fn revoke(
        &self,
        call: Call,
        id: SigningKeyId,
    ) -> Result<Done<Arc<SigningKey>>, CommandError> {
        self.slot.call(|reply| Message::Revoke(call, id, reply)).await?
    }
}

/// What the actor is started with, and again after a crash.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) node: u64,
    pub(super) store: Arc<KeyStore>,
    pub(super) proposals: Proposals,
    pub(super) views: Views,
    pub(super) signer: Arc<ArcSwapOption<NodeSigner>>,
    pub(super) rotate_every: Duration,
    pub(super) may_serve: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The actor.
pub(super) struct KeysActor;

impl Actor for KeysActor {
    type Msg = Message;
    type State = Arguments;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: Arguments,
    ) -> Result<Arguments, ActorProcessingErr> {
        myself.send_message(Message::Inspect)?;
        myself.send_interval(INSPECTION_EVERY, || Message::Inspect);
        Ok(arguments)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Message>,
        message: Message,
        state: &mut Arguments,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Inspect => {
                if let Err(error) = state.inspect().await {
                    warn!(%error, "no signing key could be brought into use; trying again");
                }
            }
            Message::Rotate(call, reply) => {
                let _ = reply.send(state.rotate(call).await);
            }
            Message::Revoke(call, id, reply) => {
                let _ = reply.send(state.revoke(call, id).await);
            }
        }
        Ok(())
    }
}

impl Arguments {
    /// Brings a key into use where there is none that may sign, or only one that is too old.
    async fn inspect(&self) -> Result<(), CommandError> {
        if !(self.may_serve)() {
            return Ok(());
        }
        match self.current() {
            Some(key) if self.is_young(&key) => self.use_registered(&key).await,
            _ => self.rotate(Call::of_node(self.node)).await.map(|_| ()),
        }
    }

    /// This node's newest key that may sign, as the state knows it.
    fn current(&self) -> Option<Arc<SigningKey>> {
        let view = self.views.load();
        let own = view.state.signing_keys.values().filter(|key| key.node == self.node);
        own.filter(|key| key.may_sign()).max_by_key(|key| key.number).cloned()
    }

    fn is_young(&self, key: &SigningKey) -> bool {
        let age_ms = clock::now_ms().saturating_sub(key.created_at);
        u128::from(age_ms) < self.rotate_every.as_millis()
    }

    /// Signs with a key that is registered already, if its private half is still here.
    async fn use_registered(&self, key: &SigningKey) -> Result<(), CommandError> {
        if self.signer.load().as_ref().is_some_and(|signer| signer.id == key.id) {
            return Ok(());
        }
        match self.store.load(key.id) {
            Ok(Some(seed)) => {
                self.sign_with(key.id, &seed);
                self.forget_others(Some(key.id));
                Ok(())
            }
            Ok(None) => self.rotate(Call::of_node(self.node)).await.map(|_| ()),
            Err(error) => Err(CommandError::Failed(error.to_string())),
        }
    }

    /// Makes, keeps and registers a key, signs with it, then retires the ones before it.
    async fn rotate(&self, call: Call) -> Result<Done<Arc<SigningKey>>, CommandError> {
        let id = SigningKeyId::from_ulid(mint::ulid());
        let seed = secrets::random();
        self.store.save(id, &seed).map_err(|error| CommandError::Failed(error.to_string()))?;
        let public_key = token::Signer::new("", &seed).public_key();
        let node_call = Call { actor: domain::Actor::Node(self.node), once: None, ..call.clone() };
        let register = Action::RegisterSigningKey(RegisterSigningKey { id, public_key });
        let registered = signing_key(self.proposals.propose(node_call, register).await?)?;
        self.sign_with(id, &seed);
        self.retire_before(&registered.value, &call).await?;
        self.forget_others(Some(id));
        info!(kid = %id, "signing with a new key");
        Ok(registered)
    }

    async fn retire_before(&self, newest: &SigningKey, call: &Call) -> Result<(), CommandError> {
        let old: Vec<SigningKeyId> = {
            let view = self.views.load();
            let own = view.state.signing_keys.values().filter(|key| key.node == self.node);
            own.filter(|key| key.may_sign() && key.number < newest.number)
                .map(|key| key.id)
                .collect()
        };
        for id in old {
            self.proposals.propose(call.clone(), Action::RetireSigningKey(id)).await?;
        }
        Ok(())
    }

    async fn revoke(
        &self,
        call: Call,
        id: SigningKeyId,
    ) -> Result<Done<Arc<SigningKey>>, CommandError> {
        let action = Action::RevokeSigningKey(id);
        let revoked = signing_key(self.proposals.propose(call, action).await?)?;
        if self.signer.load().as_ref().is_some_and(|signer| signer.id == id) {
            self.signer.store(None);
            self.rotate(Call::of_node(self.node)).await?;
        }
        Ok(revoked)
    }

    fn sign_with(&self, id: SigningKeyId, seed: &Zeroizing<[u8; 32]>) {
        let signer = token::Signer::new(&id.to_string(), seed);
        self.signer.store(Some(Arc::new(NodeSigner { id, signer })));
    }

    /// A private half that stays behind is no danger at once; the next rotation deletes it.
    fn forget_others(&self, kept: Option<SigningKeyId>) {
        if let Err(error) = self.store.keep_only(kept) {
            warn!(%error, "an old signing key could not be deleted");
        }
    }
}

fn signing_key(done: Done<Outcome>) -> Result<Done<Arc<SigningKey>>, CommandError> {
    expect(done, |outcome| match outcome {
        Outcome::SigningKey(key) => Some(key),
        _ => None,
    })
}
