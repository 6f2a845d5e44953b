//! The table at the end of a run.

use std::fmt::Write;

use crate::{
    checker::{Count, Rule, Verdict},
    fault::Kind,
};

/// What was injected, what was checked, and what was found.
pub fn table(verdict: &Verdict) -> String {
    let mut text = String::new();
    let mut line = |left: &str, right: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {left:<52} | {right:>11} |");
    };
    line("fault", "injections".into());
    line(&"-".repeat(52), format!("{}:", "-".repeat(10)));
    let kinds = Kind::ALL.iter().map(|kind| kind.name());
    for kind in kinds {
        line(kind, number(verdict.faults.get(kind).copied().unwrap_or(0)));
    }
    let others =
        verdict.faults.iter().filter(|(kind, _)| !Kind::ALL.iter().any(|k| k.name() == **kind));
    others.for_each(|(kind, times)| line(kind, number(*times)));
    line("all", number(verdict.faults.values().sum()));
    line("", String::new());
    line("checked", "number".into());
    let mut counted = |what: &str, count: Count, unknown: &str| {
        line(&format!("{what}s answered"), number(count.done));
        line(&format!("{what}s refused (503)"), number(count.refused));
        line(&format!("{what}s {unknown}"), number(count.unknown));
    };
    counted("verification", verdict.verified, "without an answer");
    counted("issue", verdict.issues, "of unknown outcome");
    counted("revoke", verdict.revokes, "of unknown outcome");
    line("verifications that said valid", number(verdict.verified_valid));
    line("agents created", number(verdict.agents.done));
    line("writes acknowledged", number(verdict.acknowledged_writes()));
    line("credentials certainly dead", number(verdict.certainly_dead));
    line("last looks, one a node", number(verdict.last_looks));
    line("", String::new());
    line("violations", "number".into());
    for rule in Rule::ALL {
        line(rule.describe(), number(verdict.violations.get(&rule).copied().unwrap_or(0)));
    }
    text
}

/// With a comma after every three digits.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (plain, grouped) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(number(plain), grouped);
        }
    }
}
