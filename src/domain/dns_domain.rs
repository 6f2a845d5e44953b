//! Domains: names in the DNS that an organisation proves to be its own.
//!
//! Whoever controls a domain can put a TXT record there, and the record that is asked for holds a
//! challenge that nobody else was given. A domain is verified by what a node saw in the DNS, which
//! arrives in a command together with the epoch of the domain that the node had in front of it: a
//! check that another one has overtaken counts nothing. One organisation at a time holds a name.
//! Domains belong to the organisation, so their events stand in its live chain. Must not know how
//! the DNS is asked.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use imbl::OrdSet;
use serde::{Deserialize, Serialize};

use super::{
    CreateDomain, Decision, DomainId, Fact, Kind, Millis, OrgId, Outcome, RecordDomainCheck,
    Refusal, State, Tenant, caller::Caller, text::invalid,
};
use crate::{
    codec::{stored_enum, stored_tags},
    limits,
};

stored_tags! {
    /// How far the proof of a domain has come.
    pub enum DomainStatus {
        /// Nobody has looked yet.
        1 => Pending = "pending",
        /// The record was there when somebody last looked.
        2 => Verified = "verified",
        /// It was not.
        3 => Failed = "failed",
    }
}

stored_enum! {
    /// What the DNS said of the name at which a domain's record is to stand.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Seen {
        /// TXT records, [`limits::DOMAIN_SEEN_MAX`] at most, each cut after
        /// [`limits::DOMAIN_SEEN_MAX_CHARS`].
        1 => Texts(Vec<String>),
        /// The name exists and has no TXT record.
        2 => NoTexts(()),
        /// The name does not exist.
        3 => NoName(()),
    }
}

impl Seen {
    /// As people are told of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Texts(texts) => texts.clone(),
            Self::NoTexts(()) => vec!["NOERROR: the name exists and has no TXT record".to_owned()],
            Self::NoName(()) => vec!["NXDOMAIN: the name does not exist".to_owned()],
        }
    }

    fn holds(&self, value: &str) -> bool {
        matches!(self, Self::Texts(texts) if texts.iter().any(|text| text == value))
    }

    fn is_bounded(&self) -> bool {
        let Self::Texts(texts) = self else { return true };
        let fits = |text: &String| {
            text.chars().count() <= limits::DOMAIN_SEEN_MAX_CHARS
                && !text.chars().any(char::is_control)
        };
        texts.len() <= limits::DOMAIN_SEEN_MAX && texts.iter().all(fits)
    }
}

/// A domain of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsDomain {
    /// Its id.
    pub id: DomainId,
    /// Whose it is, or is said to be.
    pub org: OrgId,
    /// Its name in lowercase ASCII, international labels as `xn--…`, without a dot at the end.
    pub name: Arc<str>,
    /// What the record has to hold, as [`DnsDomain::txt_value`] spells it.
    pub challenge: [u8; 32],
    /// How far the proof has come.
    pub status: DomainStatus,
    /// What was seen when somebody last looked.
    pub seen: Option<Seen>,
    /// The id that was minted for that look.
    pub last_check: Option<[u8; 16]>,
    /// When that was.
    pub last_checked_at: Option<Millis>,
    /// How often somebody has looked.
    pub epoch: u64,
    /// When it was added.
    pub created_at: Millis,
    /// Since when it is verified.
    pub verified_at: Option<Millis>,
    /// Since when it is no longer, after it was.
    pub lost_at: Option<Millis>,
}

const KIND: Kind = Kind::Domain(());
/// The label below which the record stands.
const CHALLENGE_LABEL: &str = "_authrai-challenge";

impl DnsDomain {
    /// The name at which its record has to stand.
    pub fn txt_name(&self) -> String {
        format!("{CHALLENGE_LABEL}.{}", self.name)
    }

    /// What its record has to hold.
    pub fn txt_value(&self) -> String {
        format!("authrai-verification={}", URL_SAFE_NO_PAD.encode(self.challenge))
    }

    /// Whether somebody looks again by and by: it was proved once.
    fn is_rechecked(&self) -> bool {
        self.verified_at.is_some() || self.lost_at.is_some()
    }

    fn recheck_place(&self) -> (Millis, DomainId) {
        (self.last_checked_at.unwrap_or(self.created_at), self.id)
    }

    fn chain(&self) -> Tenant {
        Tenant::live(self.org)
    }
}

/// The fence round names. Their spelling is made uniform before, outside the core: what Unicode
/// says of letters changes with the years, and replicas must not disagree.
fn check_name(name: &str) -> Result<(), Refusal> {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=limits::DOMAIN_LABEL_MAX_BYTES).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.len() <= limits::DOMAIN_NAME_MAX_BYTES
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit());
    if is_name { Ok(()) } else { Err(invalid("domain", "is not a domain name")) }
}

pub(super) fn create(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &CreateDomain,
) -> Result<Decision, Refusal> {
    let org = caller.tenant()?.org;
    check_name(&new.name)?;
    if let Some(known) = state.domains.get(&new.id) {
        let same = known.org == org && *known.name == *new.name && known.challenge == new.challenge;
        return match same {
            true => Ok(Decision::unchanged(Outcome::Domain(Arc::clone(known)))),
            false => Err(Refusal::IdTaken(KIND)),
        };
    }
    let mut number = 0;
    for known in state.domains_of(org) {
        if *known.name == *new.name {
            return Err(Refusal::DomainListed(known.id));
        }
        number += 1;
    }
    if number >= limits::DOMAINS_PER_ORGANIZATION_MAX {
        return Err(Refusal::too_many(
            "domains of one organization",
            limits::DOMAINS_PER_ORGANIZATION_MAX as u64,
        ));
    }
    let domain = Arc::new(DnsDomain {
        id: new.id,
        org,
        name: new.name.as_str().into(),
        challenge: new.challenge,
        status: DomainStatus::Pending,
        seen: None,
        last_check: None,
        last_checked_at: None,
        epoch: 0,
        created_at: at,
        verified_at: None,
        lost_at: None,
    });
    let fact = Fact::DomainCreated(Arc::clone(&domain));
    Ok(Decision::one(domain.chain(), fact, Outcome::Domain(domain)))
}

/// The domain, if the caller's organisation has it; a node may name any.
fn find<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: DomainId,
) -> Result<&'a Arc<DnsDomain>, Refusal> {
    let domain = state.domains.get(&id).filter(|domain| caller.sees(domain.org));
    domain.ok_or(Refusal::NotFound(KIND))
}

pub(super) fn delete(state: &State, caller: Caller<'_>, id: DomainId) -> Result<Decision, Refusal> {
    let domain = find(state, caller, id)?;
    let fact = Fact::DomainDeleted(Arc::clone(domain));
    Ok(Decision::one(domain.chain(), fact, Outcome::Deleted(())))
}

pub(super) fn record_check(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    check: &RecordDomainCheck,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, check.domain)?;
    if old.last_check == Some(check.id) {
        return Ok(Decision::unchanged(Outcome::Domain(Arc::clone(old))));
    }
    if check.challenge != old.challenge || check.epoch != old.epoch {
        return Err(Refusal::DomainCheckStale(()));
    }
    if !check.seen.is_bounded() {
        return Err(invalid("seen", "is longer than what is kept"));
    }
    let proved = check.seen.holds(&old.txt_value());
    if proved && state.domain_holders.get(&old.name).is_some_and(|holder| *holder != old.id) {
        return Err(Refusal::DomainHeld(()));
    }
    let mut new = DnsDomain {
        seen: Some(check.seen.clone()),
        last_check: Some(check.id),
        last_checked_at: Some(at),
        epoch: old.epoch + 1,
        ..DnsDomain::clone(old)
    };
    let told: fn(Arc<DnsDomain>) -> Fact = match (old.status, proved) {
        (DomainStatus::Verified, true) | (DomainStatus::Failed, false) => Fact::DomainChecked,
        (DomainStatus::Pending | DomainStatus::Failed, true) => {
            new.status = DomainStatus::Verified;
            (new.verified_at, new.lost_at) = (Some(at), None);
            Fact::DomainVerified
        }
        (DomainStatus::Verified, false) => {
            new.status = DomainStatus::Failed;
            (new.verified_at, new.lost_at) = (None, Some(at));
            Fact::DomainLost
        }
        (DomainStatus::Pending, false) => {
            new.status = DomainStatus::Failed;
            Fact::DomainFailed
        }
    };
    let new = Arc::new(new);
    Ok(Decision::one(new.chain(), told(Arc::clone(&new)), Outcome::Domain(new)))
}

impl State {
    /// The domain, if `org` has it.
    pub fn domain(&self, org: OrgId, id: DomainId) -> Option<&Arc<DnsDomain>> {
        self.domains.get(&id).filter(|domain| domain.org == org)
    }

    /// The names of the domains that `org` has proved to be its own, sorted; `None` when there are
    /// none.
    pub fn verified_domains(&self, org: OrgId) -> Option<&Arc<[Arc<str>]>> {
        self.verified_domains.get(&org)
    }

    /// Domains that were proved once and at which nobody has looked since `checked_by`, those left
    /// alone longest first, from behind `place` in that order; each with its place.
    pub fn domains_to_recheck(
        &self,
        place: (Millis, DomainId),
        checked_by: Millis,
    ) -> impl Iterator<Item = ((Millis, DomainId), &Arc<DnsDomain>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.domain_rechecks
            .range((Excluded(place), Unbounded))
            .take_while(move |(at, _)| *at <= checked_by)
            .filter_map(|place| Some((*place, self.domains.get(&place.1)?)))
    }

    /// A page of an organisation's domains, newest first, and how many there are.
    pub fn domains_page(
        &self,
        org: OrgId,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<DnsDomain>>, u64) {
        let total = self.domains_by_org.get(&org).map_or(0, OrdSet::len) as u64;
        (self.domains_of(org).skip(offset).take(limit).cloned().collect(), total)
    }

    /// The domains of `org`, newest first.
    fn domains_of(&self, org: OrgId) -> impl Iterator<Item = &Arc<DnsDomain>> {
        let ids = self.domains_by_org.get(&org).into_iter().flat_map(|ids| ids.iter().rev());
        ids.filter_map(|id| self.domains.get(id))
    }

    pub(crate) fn put_domain(&mut self, domain: Arc<DnsDomain>) {
        self.unlink_domain(domain.id);
        self.item_bytes.replace(domain.org, None, Some(&*domain));
        self.domains_by_org.entry(domain.org).or_default().insert(domain.id);
        if domain.status == DomainStatus::Verified {
            self.domain_holders.insert(Arc::clone(&domain.name), domain.id);
        }
        if domain.is_rechecked() {
            self.domain_rechecks.insert(domain.recheck_place());
        }
        let org = domain.org;
        self.domains.insert(domain.id, domain);
        self.gather_verified_domains(org);
    }

    pub(super) fn drop_domain(&mut self, id: DomainId) {
        if let Some(old) = self.unlink_domain(id) {
            self.gather_verified_domains(old.org);
        }
    }

    /// Takes a domain out, but for the names that verification shows.
    fn unlink_domain(&mut self, id: DomainId) -> Option<Arc<DnsDomain>> {
        let old = self.domains.remove(&id)?;
        self.item_bytes.replace(old.org, Some(&*old), None);
        self.domain_rechecks.remove(&old.recheck_place());
        if self.domain_holders.get(&old.name) == Some(&id) {
            self.domain_holders.remove(&old.name);
        }
        if let Some(ids) = self.domains_by_org.get_mut(&old.org) {
            ids.remove(&id);
            if ids.is_empty() {
                self.domains_by_org.remove(&old.org);
            }
        }
        Some(old)
    }

    fn gather_verified_domains(&mut self, org: OrgId) {
        let verified = |domain: &&Arc<DnsDomain>| domain.status == DomainStatus::Verified;
        let mut names: Vec<Arc<str>> =
            self.domains_of(org).filter(verified).map(|domain| Arc::clone(&domain.name)).collect();
        names.sort_unstable();
        if names.is_empty() {
            self.verified_domains.remove(&org);
        } else {
            self.verified_domains.insert(org, names.into());
        }
    }
}
