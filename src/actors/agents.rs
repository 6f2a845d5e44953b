//! The agents actor: everything that is asked of agents and their tokens on this node.
//!
//! It mints ids and keys and signs tokens, then lets each command travel by itself, so that a slow
//! commit holds up nobody behind it. A token leaves only after its issue is committed; when the
//! outcome is not known it is dropped. Whether a request is granted is judged by the policies actor
//! first, and decided by the core. Must not know what the state holds.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use ed25519_dalek::SigningKey;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{
    Call, CommandError, Done, Policies, Proposals, TokenRequest,
    keys::NodeSigner,
    proposals::{Permit, Shown},
    slot::Slot,
};
use crate::{
    clock,
    domain::{
        Action, Agent, AgentId, AgentTokensRevoked, Approval, ApprovalId, CreateAgent,
        DeclineToken, End, Environment, IssueToken, Judged, Outcome, Refusal, RotateAgentKey,
        RuleRef, SignedRequest, Tenant, Throttled, TokenDetails, TokenId, TokenRef, TokenRevoked,
        UpdateAgent,
    },
    limits, mint,
    secrets::{self, KeyKind, Secret},
    token,
    verify::prefix_of,
};

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
    /// The agent's signature on the request, verified.
    pub signed: Option<SignedRequest>,
    /// The approval that is collected.
    pub approval: Option<ApprovalId>,
}

/// What a token request came to.
pub enum TokenAnswer {
    /// Granted.
    Issued(IssuedToken),
    /// Somebody has to agree first.
    Pending(Arc<Approval>),
    /// Refused by this rule, or because no rule grants it.
    Denied(Option<RuleRef>),
    /// Refused because too many were granted lately.
    Throttled(Throttled),
}

/// A token that was issued.
pub struct IssuedToken {
    /// The token itself.
    pub token: Zeroizing<String>,
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

/// An outcome, and the secret key or the token that is handed out with it and kept nowhere.
type Answer = Result<Done<(Outcome, Option<Shown>)>, CommandError>;

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
        created(self.ask(call, Request::Create(agent)).await?)
    }

    /// Changes an agent's descriptive fields, or pauses or activates it.
    pub async fn update(
        &self,
        call: Call,
        change: UpdateAgent,
    ) -> Result<Done<Arc<Agent>>, CommandError> {
        let done = self.ask(call, Request::Update(change)).await?;
        expect(done.map(outcome), |outcome| match outcome {
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
        created(self.ask(call, Request::RotateKey(agent, environment)).await?)
    }

    /// Revokes an agent and all its tokens, for good.
    pub async fn revoke(
        &self,
        call: Call,
        agent: AgentId,
    ) -> Result<Done<AgentTokensRevoked>, CommandError> {
        let done = self.ask(call, Request::Revoke(agent)).await?;
        expect(done.map(outcome), tokens_revoked)
    }

    /// Revokes all tokens of an agent, which lives on.
    pub async fn revoke_tokens(
        &self,
        call: Call,
        agent: AgentId,
    ) -> Result<Done<AgentTokensRevoked>, CommandError> {
        let done = self.ask(call, Request::RevokeTokens(agent)).await?;
        expect(done.map(outcome), tokens_revoked)
    }

    /// Asks for a token.
    pub async fn issue_token(
        &self,
        call: Call,
        token: NewToken,
    ) -> Result<Done<TokenAnswer>, CommandError> {
        let done = self.ask(call, Request::IssueToken(token)).await?;
        expect(done, |answer| match answer {
            (Outcome::TokenIssued(details), Some(token)) => {
                Some(TokenAnswer::Issued(IssuedToken { token, details }))
            }
            (Outcome::ApprovalPending(approval), _) => Some(TokenAnswer::Pending(approval)),
            (Outcome::TokenDenied(rule), _) => Some(TokenAnswer::Denied(rule)),
            (Outcome::TokenThrottled(by), _) => Some(TokenAnswer::Throttled(by)),
            _ => None,
        })
    }

    /// Revokes one token.
    pub async fn revoke_token(
        &self,
        call: Call,
        token: TokenRef,
    ) -> Result<Done<TokenRevoked>, CommandError> {
        let done = self.ask(call, Request::RevokeToken(token)).await?;
        expect(done.map(outcome), |outcome| match outcome {
            Outcome::TokenRevoked(revoked) => Some(revoked),
            _ => None,
        })
    }

    async fn ask(&self, call: Call, request: Request) -> Answer {
        let permit = self.proposals.admit(call.org)?;
        self.slot.call(|reply| Message { permit, call, request, reply }).await?
    }
}

fn outcome((outcome, _): (Outcome, Option<Shown>)) -> Outcome {
    outcome
}

fn created(done: Done<(Outcome, Option<Shown>)>) -> Result<Done<CreatedAgent>, CommandError> {
    expect(done, |answer| match answer {
        (Outcome::Agent(agent), None) => Some(CreatedAgent { agent, secret: None }),
        (Outcome::Agent(agent), Some(shown)) => {
            let secret = Secret::read(&shown).ok()?;
            Some(CreatedAgent { agent, secret: Some(secret) })
        }
        _ => None,
    })
}

fn tokens_revoked(outcome: Outcome) -> Option<AgentTokensRevoked> {
    match outcome {
        Outcome::AgentTokensRevoked(revoked) => Some(revoked),
        _ => None,
    }
}

pub(super) fn expect<T, U>(
    done: Done<T>,
    pick: impl FnOnce(T) -> Option<U>,
) -> Result<Done<U>, CommandError> {
    let value = pick(done.value).ok_or_else(mismatch)?;
    Ok(Done { index: done.index, value, replayed: done.replayed })
}

fn mismatch() -> CommandError {
    CommandError::Failed("the core answered with another kind of outcome".into())
}

/// What the actor is started with, and again after a crash.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) proposals: Proposals,
    pub(super) policies: Policies,
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
        let (action, shown) = match request {
            Request::Create(agent) => create(agent),
            Request::RotateKey(agent, environment) => rotate_key(agent, environment),
            Request::Update(change) => (Action::UpdateAgent(change), None),
            Request::Revoke(agent) => (Action::RevokeAgent(agent), None),
            Request::RevokeTokens(agent) => (Action::RevokeAgentTokens(agent), None),
            Request::RevokeToken(token) => (Action::RevokeToken(token), None),
            Request::IssueToken(token) => return self.issue(permit, call, &token).await,
        };
        self.proposals.propose_admitted(&permit, call, action, shown).await
    }

    /// Judges, signs if that is called for, and proposes; again if what it was judged by or signed
    /// with was changed in between.
    async fn issue(&self, permit: Permit, call: Call, wanted: &NewToken) -> Answer {
        let mut attempt = 1;
        loop {
            let judged = self.policies.judge(wanted.to_request()).await?;
            let is_granted = match judged.verdict.end {
                End::Allow(_) => true,
                End::Deny(_) => false,
                // Whether it has been approved is for the core to say.
                End::RequireApproval(_) => wanted.approval.is_some(),
            };
            let (action, shown) = if is_granted {
                self.sign(wanted, judged)?
            } else {
                (decline(wanted, judged), None)
            };
            match self.proposals.propose_admitted(&permit, call.clone(), action, shown).await {
                Err(CommandError::Refused(Refusal::Stale(()) | Refusal::SigningKeyDead(())))
                    if attempt < limits::JUDGE_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn sign(
        &self,
        wanted: &NewToken,
        judged: Judged,
    ) -> Result<(Action, Option<Shown>), CommandError> {
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
            signed: wanted.signed,
            judged,
            approval: wanted.approval,
        });
        Ok((action, Some(token.into())))
    }
}

impl NewToken {
    /// The request, as policies see it.
    fn to_request(&self) -> TokenRequest {
        TokenRequest {
            tenant: self.tenant,
            agent: self.agent,
            scope: self.scope.clone(),
            ttl_s: self.ttl_s,
            target_service: self.target_service.clone(),
            intent: self.intent.clone(),
            signed: self.signed.is_some(),
        }
    }
}

fn decline(wanted: &NewToken, judged: Judged) -> Action {
    Action::DeclineToken(DeclineToken {
        id: ApprovalId::from_ulid(mint::ulid()),
        agent: wanted.agent,
        scope: wanted.scope.clone(),
        ttl_s: wanted.ttl_s,
        target_service: wanted.target_service.clone(),
        intent: wanted.intent.clone(),
        signed: wanted.signed,
        judged,
    })
}

fn create(wanted: NewAgent) -> (Action, Option<Shown>) {
    let (public_key, shown) = match wanted.public_key {
        Some(own) => (own, None),
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
    (action, shown)
}

fn rotate_key(id: AgentId, environment: Environment) -> (Action, Option<Shown>) {
    let (public_key, shown) = key_pair(environment);
    (Action::RotateAgentKey(RotateAgentKey { id, public_key }), shown)
}

fn key_pair(environment: Environment) -> ([u8; 32], Option<Shown>) {
    let kind = match environment {
        Environment::Live => KeyKind::AgentLive,
        Environment::Test => KeyKind::AgentTest,
    };
    let seed = secrets::random();
    let public_key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let secret = Secret::from_bytes(kind, &seed);
    (public_key, Some(secret.expose().to_owned().into()))
}
