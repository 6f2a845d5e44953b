//! Domains: looking for an organisation's record in the DNS, when somebody asks and by and by.
//!
//! Whoever asks, the node that took the request looks; the core decides what the look means, and
//! refuses it when another one has overtaken it. The actor here looks again at domains that were
//! verified once, those left alone longest first and a few at a time. A look that the DNS does not
//! answer records nothing, so that nothing is lost by a server that is down.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{debug, warn};

use super::{Call, CommandError, Done, Proposals};
use crate::{
    clock,
    dns::{self, NoAnswer, Resolver},
    domain::{
        Action, DnsDomain, DomainId, Kind, Millis, OrgId, Outcome, RecordDomainCheck, Refusal, Seen,
    },
    fair::{Full, Gate, Supply},
    limits, mint,
    verify::Views,
};

const ROUND_EVERY: Duration = Duration::from_secs(1);
/// How much of the interval passes before the actor looks again where the DNS did not answer.
const RETRIES_PER_INTERVAL: u64 = 24;

/// Why a check came to nothing.
#[derive(Debug)]
pub enum DomainCheckError {
    /// The DNS did not answer.
    NoAnswer(NoAnswer),
    /// What was seen could not be recorded.
    Command(CommandError),
    /// Too many checks are under way.
    Full(Full),
}

impl From<CommandError> for DomainCheckError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Checks domains. Clones share one bound.
#[derive(Clone)]
pub struct Domains {
    looker: Looker,
    gate: Gate<OrgId>,
}

impl Domains {
    pub(super) fn new(looker: Looker) -> Self {
        Self { looker, gate: checks_at_once() }
    }

    /// Looks for the record of a domain of `org`, and records what was seen.
    ///
    /// # Errors
    ///
    /// When `org` has no such domain, the DNS does not answer, too many checks are under way on this
    /// node, or the core says no.
    pub async fn check(
        &self,
        call: Call,
        org: OrgId,
        id: DomainId,
    ) -> Result<Done<Arc<DnsDomain>>, DomainCheckError> {
        let _pass = self.gate.enter(org).map_err(DomainCheckError::Full)?;
        let mut attempt = 1;
        loop {
            let view = self.looker.views.load_full();
            let domain = view.state.domain(org, id);
            let domain =
                domain.ok_or(CommandError::Refused(Refusal::NotFound(Kind::Domain(()))))?;
            match self.looker.look(call.clone(), domain).await {
                Err(DomainCheckError::Command(CommandError::Refused(
                    Refusal::DomainCheckStale(()),
                ))) if attempt < limits::DOMAIN_CHECK_ATTEMPTS_MAX => attempt += 1,
                came => return came,
            }
        }
    }
}

/// One look at a time: asks the DNS and tells the core.
#[derive(Clone)]
pub(super) struct Looker {
    pub(super) resolver: Resolver,
    pub(super) proposals: Proposals,
    pub(super) views: Views,
}

impl Looker {
    async fn look(
        &self,
        call: Call,
        domain: &DnsDomain,
    ) -> Result<Done<Arc<DnsDomain>>, DomainCheckError> {
        let answer = self.resolver.texts(&domain.txt_name()).await;
        let answer = answer.map_err(DomainCheckError::NoAnswer)?;
        let action = Action::RecordDomainCheck(RecordDomainCheck {
            id: mint::ulid().to_be_bytes(),
            domain: domain.id,
            challenge: domain.challenge,
            epoch: domain.epoch,
            seen: seen(answer, &domain.txt_value()),
        });
        let done = self.proposals.propose(call, action).await?;
        match done.value {
            Outcome::Domain(domain) => {
                Ok(Done { index: done.index, value: domain, replayed: done.replayed })
            }
            other => {
                Err(CommandError::Failed(format!("a domain was checked, not {other:?}")).into())
            }
        }
    }
}

fn checks_at_once() -> Gate<OrgId> {
    Gate::new(Supply::new(limits::DOMAIN_CHECKS_MAX, limits::DOMAIN_CHECKS_PER_ORGANIZATION_MAX))
}

/// As much of `answer` as is kept; what was `expected` comes first.
fn seen(answer: dns::Answer, expected: &str) -> Seen {
    let mut texts = match answer {
        dns::Answer::Texts(texts) => texts,
        dns::Answer::NoTexts => return Seen::NoTexts(()),
        dns::Answer::NoName => return Seen::NoName(()),
    };
    texts.sort_unstable_by_key(|text| text != expected);
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let kept = texts.into_iter().take(limits::DOMAIN_SEEN_MAX);
    let shown = |text: String| {
        text.chars().take(limits::DOMAIN_SEEN_MAX_CHARS).map(visible).collect::<String>()
    };
    Seen::Texts(kept.map(shown).collect())
}

/// The only message: another second has passed.
pub(super) struct Round;

/// What the actor is started with, and again after a crash.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) node: u64,
    pub(super) looker: Looker,
    /// How long a domain is left alone.
    pub(super) every: Duration,
    /// Whether this node is the one that looks.
    pub(super) may_serve: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The actor and how far its sweep has come.
pub(super) struct RechecksActor;

/// A walk through the domains that are due, from the one left alone longest. Where the DNS does not
/// answer, it walks past, and the next sweep comes there again.
#[derive(Debug)]
pub(super) struct Sweep {
    place: (Millis, DomainId),
    began_at: Millis,
}

impl Sweep {
    const fn beginning(began_at: Millis) -> Self {
        Self { place: (0, DomainId([0; 16])), began_at }
    }
}

impl Actor for RechecksActor {
    type Msg = Round;
    type State = (Arguments, Sweep);
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Round>,
        arguments: Arguments,
    ) -> Result<(Arguments, Sweep), ActorProcessingErr> {
        myself.send_after(ROUND_EVERY, || Round);
        Ok((arguments, Sweep::beginning(clock::now_ms())))
    }

    async fn handle(
        &self,
        myself: ActorRef<Round>,
        _round: Round,
        (arguments, sweep): &mut (Arguments, Sweep),
    ) -> Result<(), ActorProcessingErr> {
        if (arguments.may_serve)() {
            arguments.round(sweep).await;
        }
        myself.send_after(ROUND_EVERY, || Round);
        Ok(())
    }
}

impl Arguments {
    async fn round(&self, sweep: &mut Sweep) {
        let now = clock::now_ms();
        let every = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
        let domains = self.next(sweep, now.saturating_sub(every));
        if domains.is_empty() && now.saturating_sub(sweep.began_at) >= every / RETRIES_PER_INTERVAL
        {
            *sweep = Sweep::beginning(now);
        }
        join_all(domains.iter().map(|domain| self.recheck(domain))).await;
    }

    /// The next few domains at which nobody has looked since `checked_by`.
    fn next(&self, sweep: &mut Sweep, checked_by: Millis) -> Vec<Arc<DnsDomain>> {
        let view = self.looker.views.load();
        let due = view.state.domains_to_recheck(sweep.place, checked_by);
        let next: Vec<_> = due.take(limits::DOMAIN_RECHECKS_AT_ONCE).collect();
        if let Some((place, _)) = next.last() {
            sweep.place = *place;
        }
        next.into_iter().map(|(_, domain)| Arc::clone(domain)).collect()
    }

    async fn recheck(&self, domain: &DnsDomain) {
        match self.looker.look(Call::of_node(self.node), domain).await {
            // The gate is for those who ask.
            Ok(_) | Err(DomainCheckError::Full(_)) => {}
            Err(DomainCheckError::NoAnswer(why)) => {
                warn!(domain = %domain.name, %why, "the DNS does not answer; the domain stays as it is");
            }
            Err(DomainCheckError::Command(CommandError::Refused(refusal))) => {
                debug!(domain = %domain.name, ?refusal, "a look came to nothing");
            }
            Err(DomainCheckError::Command(error)) => {
                warn!(domain = %domain.name, %error, "a domain was not checked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::check::gate_is_shared;

    #[test]
    fn one_organisation_does_not_keep_the_others_from_checking_domains() {
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        gate_is_shared(&checks_at_once(), attacker, other);
    }

    #[test]
    fn what_is_kept_of_an_answer_is_bounded_and_has_the_expected_record_first() {
        let mut texts: Vec<String> = (0..20).map(|number| format!("other {number}")).collect();
        texts.push("é".repeat(300));
        texts.push("wanted".into());
        let Seen::Texts(kept) = seen(dns::Answer::Texts(texts), "wanted") else { panic!("texts") };
        assert_eq!((kept.len(), kept[0].as_str()), (limits::DOMAIN_SEEN_MAX, "wanted"));

        let strange = vec!["a\u{0}\u{7f}b".to_owned(), "é".repeat(300)];
        let kept = seen(dns::Answer::Texts(strange), "wanted");
        assert_eq!(
            kept,
            Seen::Texts(vec![
                "a\u{fffd}\u{fffd}b".into(),
                "é".repeat(limits::DOMAIN_SEEN_MAX_CHARS)
            ])
        );
        assert_eq!(seen(dns::Answer::NoName, ""), Seen::NoName(()));
        assert_eq!(seen(dns::Answer::NoTexts, ""), Seen::NoTexts(()));
    }
}
