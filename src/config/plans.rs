//! How plans are spelled in the configuration: one text, a plan after the other, the least first.

use super::Setting;
use crate::limits;

/// A plan, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedPlan {
    /// Its name.
    pub name: String,
    /// What it costs, in words.
    pub price: String,
    /// Most agents, if there is a limit.
    pub agents: Option<u64>,
    /// Most tokens in a calendar month, if there is a limit.
    pub tokens_per_month: Option<u64>,
    /// Most webhook endpoints, if there is a limit.
    pub webhooks: Option<u64>,
    /// Most requests in a second of one API key, and of all keys of one organisation.
    pub requests_per_second: u32,
    /// Whether an organisation can change to it by itself.
    pub self_service: bool,
}

/// The plans on offer, the least first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedPlans(Vec<OfferedPlan>);

impl OfferedPlans {
    /// The plans, the least first.
    pub fn iter(&self) -> impl Iterator<Item = &OfferedPlan> {
        self.0.iter()
    }

    /// Whether one is called `name`.
    pub fn contains(&self, name: &PlanName) -> bool {
        self.0.iter().any(|plan| plan.name == name.as_str())
    }
}

impl Setting for OfferedPlans {
    const EXPECTED: &'static str = "plans separated by commas, the least first, each a name, \
        limits and a price at the end: `NAME [self_service] [agents=N] [tokens_per_month=N] \
        [webhooks=N] requests_per_second=N price=TEXT`; a limit that is left out is none, and \
        without `self_service` only an operator gives it";

    fn parse(text: &str) -> Option<Self> {
        let plans: Vec<OfferedPlan> = text.split(',').map(plan).collect::<Option<_>>()?;
        let is_new = |at: usize| plans[..at].iter().all(|other| other.name != plans[at].name);
        let fit = plans.len() <= limits::PLANS_MAX && (0..plans.len()).all(is_new);
        fit.then_some(Self(plans))
    }
}

fn plan(text: &str) -> Option<OfferedPlan> {
    let (terms, price) = text.split_once("price=")?;
    let mut words = terms.split_whitespace();
    let PlanName(name) = PlanName::parse(words.next()?)?;
    let mut plan = OfferedPlan {
        name,
        price: price.trim().to_owned(),
        agents: None,
        tokens_per_month: None,
        webhooks: None,
        requests_per_second: 0,
        self_service: false,
    };
    for word in words {
        if word == "self_service" {
            plan.self_service = true;
            continue;
        }
        let (limit, number) = word.split_once('=')?;
        let number: u64 = number.parse().ok().filter(|it| *it <= limits::PLAN_LIMIT_MAX)?;
        match limit {
            "agents" => plan.agents = Some(number),
            "tokens_per_month" => plan.tokens_per_month = Some(number),
            "webhooks" => plan.webhooks = Some(number),
            "requests_per_second" => plan.requests_per_second = u32::try_from(number).ok()?,
            _ => return None,
        }
    }
    let is_priced = (1..=limits::NAME_MAX_CHARS).contains(&plan.price.chars().count())
        && !plan.price.chars().any(char::is_control);
    let is_rated = (1..=limits::REQUESTS_PER_SECOND_MAX).contains(&plan.requests_per_second);
    (is_priced && is_rated).then_some(plan)
}

/// The name of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanName(String);

impl PlanName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for PlanName {
    const EXPECTED: &'static str = "the name of a plan in `plans.offered`";

    fn parse(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        let is_name = (1..=limits::PLAN_NAME_MAX_BYTES).contains(&text.len());
        (is_name && text.chars().all(fits)).then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_name_limits_and_price() {
        let text = "free self_service agents=25 requests_per_second=5 price=Free of charge,
             big tokens_per_month=9 webhooks=0 requests_per_second=1000000 price=29 USD a month";
        let plans = OfferedPlans::parse(text).expect("two plans");
        let free = OfferedPlan {
            name: "free".into(),
            price: "Free of charge".into(),
            agents: Some(25),
            tokens_per_month: None,
            webhooks: None,
            requests_per_second: 5,
            self_service: true,
        };
        let big = OfferedPlan {
            name: "big".into(),
            price: "29 USD a month".into(),
            agents: None,
            tokens_per_month: Some(9),
            webhooks: Some(0),
            requests_per_second: 1_000_000,
            self_service: false,
        };
        assert_eq!(plans, OfferedPlans(vec![free, big]));
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in [
            "",
            "free",
            "free price=x",
            "free requests_per_second=0 price=x",
            "free requests_per_second=1000001 price=x",
            "free requests_per_second=1 price=",
            "Free requests_per_second=1 price=x",
            "free agents=many requests_per_second=1 price=x",
            "free agents=-1 requests_per_second=1 price=x",
            "free agents=1000000000000001 requests_per_second=1 price=x",
            "free seats=1 requests_per_second=1 price=x",
            "free self_service=yes requests_per_second=1 price=x",
            "self_service price=x",
            "free requests_per_second=1 price=x,",
            "a requests_per_second=1 price=x, a requests_per_second=2 price=y",
        ] {
            assert_eq!(OfferedPlans::parse(text), None, "{text:?}");
        }
    }
}
