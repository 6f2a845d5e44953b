//! What the clients know of: agents, tokens, API keys, alive or not. Must not know the network.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// Dead tokens that verifications go on asking about.
const RECENTLY_DEAD_MAX: usize = 2_000;

/// A token as the harness was shown it.
#[derive(Debug, Clone)]
pub struct Token {
    pub number: u32,
    pub id: String,
    pub text: Arc<str>,
    pub agent: u32,
    pub signed_by: u32,
}

/// An API key that can be revoked.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub number: u32,
    pub id: String,
    pub text: Arc<str>,
}

/// Everything that was made.
#[derive(Debug, Default)]
pub struct Pool {
    next: u32,
    /// Every token that was shown, by its number.
    pub tokens: Vec<Token>,
    /// Every API key.
    pub keys: Vec<ApiKey>,
    /// Every agent's id, by its number.
    pub agents: Vec<String>,
    /// The ids of signing keys, by their numbers.
    pub signing_keys: Vec<String>,
    signing_key_numbers: HashMap<String, u32>,
    live: Vec<Token>,
    live_keys: Vec<ApiKey>,
    live_agents: Vec<u32>,
    recently_dead: VecDeque<(u32, Arc<str>)>,
    /// Token ids whose revocation by that id or text was acknowledged.
    pub revoked: Vec<String>,
}

impl Pool {
    /// A token that was just issued; `None` when it is not one.
    pub fn add_token(&mut self, agent: u32, id: String, text: &str) -> Option<Token> {
        let kid = kid(text)?;
        let fresh = u32::try_from(self.signing_keys.len()).ok()?;
        let signed_by = *self.signing_key_numbers.entry(kid.clone()).or_insert(fresh);
        if signed_by == fresh {
            self.signing_keys.push(kid);
        }
        let token = Token { number: self.next, id, text: text.into(), agent, signed_by };
        self.next += 1;
        self.tokens.push(token.clone());
        Some(token)
    }

    /// It is alive as far as anyone was told.
    pub fn enliven(&mut self, token: Token) {
        self.live.push(token);
    }

    pub fn add_key(&mut self, id: String, text: &str) -> ApiKey {
        let key = ApiKey { number: self.next, id, text: text.into() };
        self.next += 1;
        self.keys.push(key.clone());
        self.live_keys.push(key.clone());
        key
    }

    pub fn add_agent(&mut self, id: String) -> u32 {
        let number = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        self.agents.push(id);
        self.live_agents.push(number);
        number
    }

    pub fn live(&self) -> usize {
        self.live.len()
    }

    pub fn live_keys(&self) -> &[ApiKey] {
        &self.live_keys
    }

    pub fn live_agents(&self) -> &[u32] {
        &self.live_agents
    }

    /// A live token, which nobody else gets to revoke.
    pub fn take_token(&mut self, rng: &mut fastrand::Rng) -> Option<Token> {
        let at = (!self.live.is_empty()).then(|| rng.usize(..self.live.len()))?;
        let token = self.live.swap_remove(at);
        self.bury([(token.number, token.text.clone())]);
        Some(token)
    }

    pub fn take_key(&mut self, rng: &mut fastrand::Rng) -> Option<ApiKey> {
        let at = (!self.live_keys.is_empty()).then(|| rng.usize(..self.live_keys.len()))?;
        Some(self.live_keys.swap_remove(at))
    }

    pub fn agent(&self, rng: &mut fastrand::Rng) -> Option<(u32, String)> {
        let number = rng.choice(self.live_agents.iter())?;
        Some((*number, self.agents[*number as usize].clone()))
    }

    pub fn retire_agent(&mut self, agent: u32) {
        self.live_agents.retain(|live| *live != agent);
    }

    /// Takes every live token that fits out of the pool.
    pub fn take_tokens(&mut self, fits: impl Fn(&Token) -> bool) -> Vec<(u32, Arc<str>)> {
        let gone: Vec<_> = self.live.extract_if(.., |token| fits(token)).collect();
        let gone: Vec<_> = gone.into_iter().map(|token| (token.number, token.text)).collect();
        self.bury(gone.iter().cloned());
        gone
    }

    fn bury(&mut self, dead: impl IntoIterator<Item = (u32, Arc<str>)>) {
        self.recently_dead.extend(dead);
        let over = self.recently_dead.len().saturating_sub(RECENTLY_DEAD_MAX);
        self.recently_dead.drain(..over);
    }

    /// Tokens to ask about: most of them alive, some lately dead or dying.
    pub fn sample(&self, count: usize, rng: &mut fastrand::Rng) -> Vec<(u32, Arc<str>)> {
        let mut sample = Vec::with_capacity(count);
        for _ in 0..count {
            let dead = rng.u8(0..10) < 3;
            let one = match dead {
                true => rng.choice(self.recently_dead.iter()).cloned(),
                false => {
                    rng.choice(self.live.iter()).map(|token| (token.number, token.text.clone()))
                }
            };
            sample.extend(one);
        }
        sample
    }
}

/// The id of the key that signed a token, from its header.
fn kid(token: &str) -> Option<String> {
    let jws = token.strip_prefix("rai_live_")?;
    let header = URL_SAFE_NO_PAD.decode(jws.split('.').next()?).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header["kid"].as_str().map(str::to_owned)
}
