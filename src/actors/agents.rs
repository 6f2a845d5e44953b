//! The agents actor: everything that is asked of agents and their tokens on this node.
//!
//! It mints ids and keys and signs tokens, then lets each command travel by itself, so that a slow
//! commit holds up nobody behind it. A token leaves only after its issue is committed; when the
//! outcome is not known it is dropped. Must not know whether a request is permitted by policy, nor
//! what the state holds: the core decides.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use ed25519_dalek::SigningKey;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::{Call, CommandError, Done, Proposals, keys::NodeSigner, proposals::Permit, slot::Slot};
use crate::{
    clock,
    domain::{
        Action, Agent, AgentId, AgentTokensRevoked, CreateAgent, Environment, IssueToken, Outcome,
        Refusal, RotateAgentKey, Tenant, TokenDetails, TokenId, TokenRef, TokenRevoked,
        UpdateAgent,
    },
    mint,
    secrets::{self, KeyKind, Secret},
    token,
    verify::prefix_of,
};

/// How often a token is signed anew when its key was retired under its feet.
const SIGN_ATTEMPTS_MAX: usize = 3;

/// A new agent, as asked for.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Whose it is to be.
    pub tenant: Tenant,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: String,
    /// What it is for.
    pub description: Option<String>,
    /// For example `openai`.
    pub model_provider: Option<String>,
    /// For example `gpt-4`.
    pub model_name: Option<String>,
    /// For example `langchain`.
    pub framework: Option<String>,
    /// Whatever else.
    pub metadata: BTreeMap<String, String>,
    /// Its own public key; without one, a key pair is made.
    pub public_key: Option<[u8; 32]>,
    /// Whether it must sign its token requests.
    pub require_signature: bool,
}

/// An agent with a key that it was just given.
#[derive(Debug)]
pub struct CreatedAgent {
    /// The agent.
    pub agent: Arc<Agent>,
    /// Its secret key, unless it brought its own.
    pub secret: Option<Secret>,
}

/// A token, as asked for.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose agent it is for.
    pub tenant: Tenant,
    /// Whom it is for.
    pub agent: AgentId,
    /// What it is to allow.
    pub scope: Vec<String>,
    /// How long it is to live, seconds.
    pub ttl_s: u64,
    /// Where it may be used.
    pub target_service: String,
    /// What it is for.
    pub intent: Option<String>,
}

/// A token that was issued.
pub struct IssuedToken {
    /// The token itself.
    pub token: String,
    /// What it is.
    pub details: Arc<TokenDetails>,
}

enum Request {
    Create(NewAgent),
    Update(UpdateAgent),
    RotateKey(AgentId, Environment),
    Revoke(AgentId),
    RevokeTokens(AgentId),
    IssueToken(NewToken),
    RevokeToken(TokenRef),
}

/// What is handed out with an outcome and kept nowhere.
enum Keepsake {
    None,
    Secret(Secret),
    Token(String),
}

type Answer = Result<(Done<Outcome>, Keepsake), CommandError>;

/// One request in the mailbox, already admitted.
pub(super) struct Message {
    permit: Permit,
    call: Call,
    request: Request,
    reply: oneshot::Sender<Answer>,
}

/// Typed access to the agents actor.
#[derive(Clone)]
pub struct Agents {
    slot: Slot<Message>,
    proposals: Proposals,
}

impl Agents {
    pub(super) fn new(slot: Slot<Message>, proposals: Proposals) -> Self {
        Self { slot, proposals }
    }

    /// Registers an agent.
    pub async fn create(
        &self,
        call: Call,
        agent: NewAgent,
    ) -> Result<Done<CreatedAgent>, CommandError> {
        let (done, keepsake) = self.ask(call, Request::Create(agent)).await?;
        created(done, keepsake)
    }

    /// Changes an agent's descriptive fields, or pauses or activates it.
    pub async fn update(
        &self,
        call: Call,
        change: UpdateAgent,
    ) -> Result<Done<Arc<Agent>>, CommandError> {
        let (done, _) = self.ask(call, Request::Update(change)).await?;
        expect(done, |outcome| match outcome {
            Outcome::Agent(agent) => Some(agent),
            _ => None,
        })
    }

    /// Gives an agent a new key; the old one stops at once.
    pub async fn rotate_key(
        &self,
        call: Call,
        agent: AgentId,
        environment: Environment,
    ) -> Result<Done<CreatedAgent>, CommandError> {
        let (done, keepsake) = self.ask(call, Request::RotateKey(agent, environment)).await?;
        created(done, keepsake)
    }

    /// Revokes an agent and all its tokens, for good.
    pub async fn revoke(
        &self,
        call: Call,
        agent: AgentId,
    ) -> Result<Done<AgentTokensRevoked>, CommandError> {
        let (done, _) = self.ask(call, Request::Revoke(agent)).await?;
        expect(done, tokens_revoked)
    }

    /// Revokes all tokens of an agent, which lives on.
    pub async fn revoke_tokens(
        &self,
        call: Call,
        agent: AgentId,
    ) -> Result<Done<AgentTokensRevoked>, CommandError> {
        let (done, _) = self.ask(call, Request::RevokeTokens(agent)).await?;
        expect(done, tokens_revoked)
    }

    /// Issues a token.
    pub async fn issue_token(
        &self,
        call: Call,
        token: NewToken,
    ) -> Result<Done<IssuedToken>, CommandError> {
        let (done, keepsake) = self.ask(call, Request::IssueToken(token)).await?;
        let Keepsake::Token(token) = keepsake else { return Err(mismatch()) };
        expect(done, |outcome| match outcome {
            Outcome::TokenIssued(details) => Some(IssuedToken { token, details }),
            _ => None,
        })
    }

    /// Revokes one token.
    pub async fn revoke_token(
        &self,
        call: Call,
        token: TokenRef,
    ) -> Result<Done<TokenRevoked>, CommandError> {
        let (done, _) = self.ask(call, Request::RevokeToken(token)).await?;
        expect(done, |outcome| match outcome {
            Outcome::TokenRevoked(revoked) => Some(revoked),
            _ => None,
        })
    }

    async fn ask(&self, call: Call, request: Request) -> Answer {
        let permit = self.proposals.admit()?;
        self.slot.call(|reply| Message { permit, call, request, reply }).await?
    }
}

fn created(done: Done<Outcome>, keepsake: Keepsake) -> Result<Done<CreatedAgent>, CommandError> {
    let secret = match keepsake {
        Keepsake::Secret(secret) => Some(secret),
        Keepsake::None | Keepsake::Token(_) => None,
    };
    expect(done, |outcome| match outcome {
        Outcome::Agent(agent) => Some(CreatedAgent { agent, secret }),
        _ => None,
    })
}

fn tokens_revoked(outcome: Outcome) -> Option<AgentTokensRevoked> {
    match outcome {
        Outcome::AgentTokensRevoked(revoked) => Some(revoked),
        _ => None,
    }
}

pub(super) fn expect<T>(
    done: Done<Outcome>,
    pick: impl FnOnce(Outcome) -> Option<T>,
) -> Result<Done<T>, CommandError> {
    let value = pick(done.value).ok_or_else(mismatch)?;
    Ok(Done { index: done.index, value })
}

fn mismatch() -> CommandError {
    CommandError::Failed("the core answered with another kind of outcome".into())
}

/// What the actor is started with, and again after a crash.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) proposals: Proposals,
    pub(super) signer: Arc<ArcSwapOption<NodeSigner>>,
    pub(super) issuer: Arc<str>,
}

/// The actor.
pub(super) struct AgentsActor;

impl Actor for AgentsActor {
    type Msg = Message;
    type State = Arguments;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Message>,
        arguments: Arguments,
    ) -> Result<Arguments, ActorProcessingErr> {
        Ok(arguments)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Message>,
        message: Message,
        state: &mut Arguments,
    ) -> Result<(), ActorProcessingErr> {
        let Message { permit, call, request, reply } = message;
        let worker = state.clone();
        tokio::spawn(async move {
            // Whoever asked may be gone; the command travels to its end all the same.
            let _ = reply.send(worker.serve(permit, call, request).await);
        });
        Ok(())
    }
}

impl Arguments {
    async fn serve(self, permit: Permit, call: Call, request: Request) -> Answer {
        let (action, keepsake) = match request {
            Request::Create(agent) => create(agent),
            Request::RotateKey(agent, environment) => rotate_key(agent, environment),
            Request::Update(change) => (Action::UpdateAgent(change), Keepsake::None),
            Request::Revoke(agent) => (Action::RevokeAgent(agent), Keepsake::None),
            Request::RevokeTokens(agent) => (Action::RevokeAgentTokens(agent), Keepsake::None),
            Request::RevokeToken(token) => (Action::RevokeToken(token), Keepsake::None),
            Request::IssueToken(token) => return self.issue(permit, call, &token).await,
        };
        let done = self.proposals.propose_admitted(&permit, call, action).await?;
        Ok((done, keepsake))
    }

    /// Signs and proposes; again with the new key if the old one was retired in between.
    async fn issue(&self, permit: Permit, call: Call, wanted: &NewToken) -> Answer {
        let mut attempt = 1;
        loop {
            let (action, token) = self.sign(wanted)?;
            match self.proposals.propose_admitted(&permit, call.clone(), action).await {
                Err(CommandError::Refused(Refusal::SigningKeyDead(())))
                    if attempt < SIGN_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                result => return result.map(|done| (done, Keepsake::Token(token))),
            }
        }
    }

    fn sign(&self, wanted: &NewToken) -> Result<(Action, String), CommandError> {
        let signer = self.signer.load();
        let signer = signer.as_ref().ok_or(CommandError::NotReady("it has no signing key yet"))?;
        let id = TokenId::from_ulid(mint::ulid());
        let issued_at = clock::now_ms() / 1000;
        let expires_at = issued_at.saturating_add(wanted.ttl_s);
        let agent = wanted.agent.to_string();
        let claims = token::Claims {
            iss: self.issuer.as_ref().into(),
            sub: agent.as_str().into(),
            client_id: agent.as_str().into(),
            aud: wanted.target_service.as_str().into(),
            scope: wanted.scope.join(" ").into(),
            iat: issued_at,
            exp: expires_at,
            jti: id.to_string().into(),
            org: wanted.tenant.org.to_string().into(),
            intent: wanted.intent.as_deref().map(Into::into),
        };
        let prefix = prefix_of(wanted.tenant.environment);
        let token = signer.signer.sign(prefix, &claims);
        let action = Action::IssueToken(IssueToken {
            id,
            hash: token::hash(&token),
            agent: wanted.agent,
            signing_key: signer.id,
            scope: wanted.scope.clone(),
            target_service: wanted.target_service.clone(),
            intent: wanted.intent.clone(),
            issued_at,
            expires_at,
            signed_by_key_epoch: None,
        });
        Ok((action, token))
    }
}

fn create(wanted: NewAgent) -> (Action, Keepsake) {
    let (public_key, keepsake) = match wanted.public_key {
        Some(own) => (own, Keepsake::None),
        None => key_pair(wanted.tenant.environment),
    };
    let action = Action::CreateAgent(CreateAgent {
        id: AgentId::from_ulid(mint::ulid()),
        name: wanted.name,
        owner: wanted.owner,
        description: wanted.description,
        model_provider: wanted.model_provider,
        model_name: wanted.model_name,
        framework: wanted.framework,
        metadata: wanted.metadata,
        public_key,
        require_signature: wanted.require_signature,
    });
    (action, keepsake)
}

fn rotate_key(id: AgentId, environment: Environment) -> (Action, Keepsake) {
    let (public_key, keepsake) = key_pair(environment);
    (Action::RotateAgentKey(RotateAgentKey { id, public_key }), keepsake)
}

fn key_pair(environment: Environment) -> ([u8; 32], Keepsake) {
    let kind = match environment {
        Environment::Live => KeyKind::AgentLive,
        Environment::Test => KeyKind::AgentTest,
    };
    let seed = secrets::random();
    let public_key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    (public_key, Keepsake::Secret(Secret::from_bytes(kind, &seed)))
}
