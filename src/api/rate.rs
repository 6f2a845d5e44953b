//! Rates: how many requests a second one API key, and all keys of one organisation together, may
//! make of this node, and how many verifications one address.
//!
//! A key has the rate of its organisation's plan, and so has the organisation: more keys get no
//! more. Each is a bucket that holds one second's worth and fills evenly (GCRA). Every answer to a key says how it stands, in the fields of
//! draft-ietf-httpapi-ratelimit-headers-11. Each node counts for itself; what has to be exact in
//! the cluster is a quota of the plan or a throttle of a policy. Knows nothing of plans.

use std::{
    collections::BTreeMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};

use super::problem::{Code, Problem};
use crate::{clock, limits};

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How a key or an address stands against its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests in a second.
    pub per_second: u32,
    /// Requests that would be let through now.
    pub remaining: u32,
    /// Seconds until it is whole again; when there is none left, until there is one.
    pub reset_s: u64,
}

impl Standing {
    /// The one of two that lets less through.
    pub fn tighter(self, other: Self) -> Self {
        if other.remaining < self.remaining { other } else { self }
    }

    /// Writes the fields. The name of the policy is ours.
    pub fn write_to(self, headers: &mut HeaderMap) {
        let Self { per_second, remaining, reset_s } = self;
        let policy = format!("\"requests\";q={per_second};w=1");
        let standing = format!("\"requests\";r={remaining};t={reset_s}");
        for (name, text) in [(&RATE_LIMIT_POLICY, policy), (&RATE_LIMIT, standing)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

/// A table of buckets of one size.
struct Buckets<K: Hash + Eq + Clone> {
    per_second: u32,
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
    swept_at_ms: AtomicU64,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(per_second: NonZeroU32) -> Self {
        let limiter = RateLimiter::dashmap(Quota::per_second(per_second));
        Self {
            per_second: per_second.get(),
            limiter: limiter.with_middleware(),
            swept_at_ms: AtomicU64::new(clock::now_ms()),
        }
    }

    /// Takes one from the bucket of `key`; how it stands then, or that there was none.
    fn take(&self, key: &K) -> Result<Standing, Standing> {
        self.sweep();
        let standing =
            |remaining, reset_s| Standing { per_second: self.per_second, remaining, reset_s };
        match self.limiter.check_key(key) {
            Ok(state) => Ok(standing(state.remaining_burst_capacity(), 1)),
            Err(not_yet) => {
                let wait = not_yet.wait_time_from(DefaultClock::default().now());
                Err(standing(0, (wait.as_millis().div_ceil(1000) as u64).max(1)))
            }
        }
    }

    /// Now and then drops the buckets that are full, which is what an unknown one is too: after a
    /// second without a request nothing is kept of a key, whether it was deleted or rests.
    fn sweep(&self) {
        let now_ms = clock::now_ms();
        let swept_at_ms = self.swept_at_ms.load(Ordering::Relaxed);
        let due = now_ms.abs_diff(swept_at_ms) >= limits::RATES_SWEEP_EVERY_MS;
        let order = Ordering::Relaxed;
        if due && self.swept_at_ms.compare_exchange(swept_at_ms, now_ms, order, order).is_ok() {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

/// What has a rate: its kind, and its id.
pub type KeyOf = (u8, [u8; 16]);

/// The rates of keys on this node: a table for each rate that some plan has.
#[derive(Default)]
pub struct KeyRates(ArcSwap<BTreeMap<u32, Arc<Buckets<KeyOf>>>>);

impl KeyRates {
    /// Counts a request of `key`, which may make `per_second` of them.
    ///
    /// # Errors
    ///
    /// How it stands, when it has to wait.
    pub fn take(&self, key: &KeyOf, per_second: u32) -> Result<Standing, Standing> {
        self.buckets(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN)).take(key)
    }

    fn buckets(&self, per_second: NonZeroU32) -> Arc<Buckets<KeyOf>> {
        if let Some(known) = self.0.load().get(&per_second.get()) {
            return Arc::clone(known);
        }
        let new = Arc::new(Buckets::new(per_second));
        self.0.rcu(|tables| {
            let mut tables = BTreeMap::clone(tables);
            tables.entry(per_second.get()).or_insert_with(|| Arc::clone(&new));
            tables
        });
        self.0.load().get(&per_second.get()).map_or(new, Arc::clone)
    }
}

/// The key has made too many requests.
pub fn too_many_of_key(standing: Standing) -> (Standing, Problem) {
    too_many_of("This key", "its", standing)
}

/// The keys of an organisation have made too many requests together.
pub fn too_many_of_organization(standing: Standing) -> (Standing, Problem) {
    too_many_of("All keys of this organisation together", "the", standing)
}

fn too_many_of(who: &str, whose: &str, standing: Standing) -> (Standing, Problem) {
    let Standing { per_second, reset_s, .. } = standing;
    let detail = format!(
        "{who} may make {per_second} requests a second of this node, as {whose} organisation's plan \
         has it. Nothing was done; wait {reset_s} s, and spread requests out."
    );
    (standing, Problem::new(Code::RATE_LIMITED, detail).retry_after(reset_s))
}

/// The rates of addresses that verify.
pub struct AddressRates(Buckets<IpAddr>);

impl AddressRates {
    /// The table; `None` when there is no limit.
    pub fn new(per_second: u64) -> Option<Self> {
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
        NonZeroU32::new(per_second).map(Buckets::new).map(Self)
    }

    /// Counts a request from `address`. `None` when it goes uncounted: from so many addresses at
    /// once, a limit for each holds nobody back, and turning those away that are new would punish
    /// the innocent.
    fn take(&self, address: IpAddr) -> Option<Result<Standing, Standing>> {
        if self.0.limiter.len() >= limits::RATED_ADDRESSES_MAX {
            self.0.sweep();
            return None;
        }
        Some(self.0.take(&network(address)))
    }
}

/// Whom an address stands for: an IPv4 address for itself, wherever it is written, an IPv6 address
/// for its /64, which one host can have the whole of.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// The network that a request comes from; the unspecified address if that is not known.
pub(super) fn network_of(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| network(peer.ip()))
}

/// The layer around the routes that take no key. It is there only when there is a limit.
pub async fn limit_address(
    State(rates): State<Arc<AddressRates>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let taken = peer.and_then(|ConnectInfo(peer)| rates.take(peer.ip()));
    let (standing, mut response) = match taken {
        None => return next.run(request).await,
        Some(Ok(standing)) => (standing, next.run(request).await),
        Some(Err(standing)) => (standing, too_many_of_address(standing).into_response()),
    };
    standing.write_to(response.headers_mut());
    response
}

fn too_many_of_address(standing: Standing) -> Problem {
    let Standing { per_second, reset_s, .. } = standing;
    Problem::new(
        Code::RATE_LIMITED,
        format!(
            "This node answers {per_second} verifications a second of one address. Wait {reset_s} \
             s; POST /v1/tokens/verify/batch asks for up to {} tokens at once.",
            limits::VERIFY_BATCH_MAX
        ),
    )
    .retry_after(reset_s)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_key_gets_its_rate_and_no_other_keys() {
        let rates = KeyRates::default();
        let (a, b) = ((1, [1; 16]), (1, [2; 16]));
        for left in (0..3).rev() {
            let standing = Standing { per_second: 3, remaining: left, reset_s: 1 };
            assert_eq!(rates.take(&a, 3), Ok(standing));
        }
        let over = Standing { per_second: 3, remaining: 0, reset_s: 1 };
        assert_eq!(rates.take(&a, 3), Err(over));
        assert!(rates.take(&b, 3).is_ok(), "another key");
        assert!(rates.take(&a, 4).is_ok(), "another plan");
    }

    #[test]
    fn a_standing_is_written_as_structured_fields() {
        let mut headers = HeaderMap::new();
        Standing { per_second: 20, remaining: 19, reset_s: 1 }.write_to(&mut headers);
        assert_eq!(headers[&RATE_LIMIT_POLICY], "\"requests\";q=20;w=1");
        assert_eq!(headers[&RATE_LIMIT], "\"requests\";r=19;t=1");
        for name in [&RATE_LIMIT_POLICY, &RATE_LIMIT] {
            let text = headers[name].to_str().unwrap();
            let list = sfv::Parser::new(text).parse::<sfv::List>().expect("a list");
            assert_eq!(list.len(), 1, "{text}");
        }
    }

    #[test]
    fn nothing_is_kept_of_a_key_that_rests() {
        let buckets = Buckets::new(NonZeroU32::new(1_000_000).unwrap());
        for key in 0..1_000u32 {
            assert!(buckets.take(&key).is_ok());
        }
        // A bucket of this size is full again after a millionth of a second, which a fast machine
        // may not have spent yet.
        let deadline = Instant::now() + Duration::from_secs(5);
        while buckets.limiter.len() > 1 {
            assert!(Instant::now() < deadline, "{} keys are kept", buckets.limiter.len());
            buckets.swept_at_ms.store(0, Ordering::Relaxed);
            assert!(buckets.take(&0).is_ok());
        }
    }

    #[test]
    fn an_address_stands_for_its_network() {
        for (address, stands_for) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), stands_for.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn an_address_has_a_limit_only_if_one_is_set() {
        assert!(AddressRates::new(0).is_none());
        let rates = AddressRates::new(1).expect("a limit");
        let [a, b] = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        assert!(matches!(rates.take(a), Some(Ok(_))));
        assert!(matches!(rates.take(a), Some(Err(_))));
        assert!(matches!(rates.take(b), Some(Ok(_))));
    }
}
