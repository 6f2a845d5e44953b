//! Patterns: texts in which `*` stands for any run of characters, also none. Nothing else is
//! special. Matching is linear in the text and the pattern.
//!
//! A requested scope may itself end in `*` and then means every scope below it. Against such a
//! one, a pattern can *overlap* (some scope is meant by both) or *cover* (every scope that the
//! request means is meant by the pattern). Knows nothing of rules.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// Up to the first `*`, or the whole.
    head: String,
    /// What stands between the stars and after the last one; `None` without a star.
    rest: Option<Rest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    middle: Vec<String>,
    tail: String,
}

impl Glob {
    /// The pattern that `text` spells. Every text is one.
    pub fn new(text: &str) -> Self {
        let mut pieces = text.split('*').map(str::to_owned);
        let head = pieces.next().unwrap_or_default();
        let mut middle: Vec<String> = pieces.collect();
        let rest = middle.pop().map(|tail| {
            middle.retain(|piece| !piece.is_empty());
            Rest { middle, tail }
        });
        Self { head, rest }
    }

    /// Whether `text` is one of those meant.
    pub fn matches(&self, text: &str) -> bool {
        let Some(after_head) = text.strip_prefix(self.head.as_str()) else {
            return false;
        };
        match &self.rest {
            None => after_head.is_empty(),
            Some(rest) => {
                rest.after_middle(after_head).is_some_and(|end| end.ends_with(&rest.tail))
            }
        }
    }

    /// Whether every text is meant.
    pub fn is_everything(&self) -> bool {
        self.head.is_empty()
            && self.rest.as_ref().is_some_and(|rest| rest.middle.is_empty() && rest.tail.is_empty())
    }

    /// Whether `text` is meant and nothing else.
    pub fn is_exactly(&self, text: &str) -> bool {
        self.rest.is_none() && self.head == text
    }

    /// Whether some scope is meant by both the requested `scope` and this pattern.
    pub fn overlaps_scope(&self, scope: &str) -> bool {
        let Some(stem) = scope.strip_suffix('*') else {
            return self.matches(scope);
        };
        match self.rest {
            // What follows the stem is not empty: `db.*` does not mean `db.`.
            None => self.head.len() > stem.len() && self.head.starts_with(stem),
            // Whatever the request's star has to be, this pattern's first star takes in.
            Some(_) => self.head.starts_with(stem) || stem.starts_with(self.head.as_str()),
        }
    }

    /// Whether every scope meant by the requested `scope` is meant by this pattern.
    pub fn covers_scope(&self, scope: &str) -> bool {
        let Some(stem) = scope.strip_suffix('*') else {
            return self.matches(scope);
        };
        // The request's star may be anything, so nothing of the pattern can rely on it but a star
        // at the end; all else has to be found in the stem.
        self.rest.as_ref().is_some_and(|rest| {
            rest.tail.is_empty()
                && stem
                    .strip_prefix(self.head.as_str())
                    .is_some_and(|after_head| rest.after_middle(after_head).is_some())
        })
    }
}

impl Rest {
    /// What remains of `text` after the first place where all middle pieces stand in order.
    fn after_middle<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.middle.iter().try_fold(text, |rest, piece| {
            rest.find(piece.as_str()).map(|at| &rest[at + piece.len()..])
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, matches) in [
            ("db.read", "db.read", true),
            ("db.read", "db.reads", false),
            ("db.read", "db.rea", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("db.*", "db.read", true),
            ("db.*", "db.read.rows", true),
            ("db.*", "db.", true),
            ("db.*", "db", false),
            ("*.read", "db.read", true),
            ("*.read", "db.reader", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "acb", false),
            ("a**c", "abc", true),
            ("aa*aa", "aaa", false),
            ("aa*aa", "aaaa", true),
            ("é*", "élan", true),
            ("?", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern} on {text}");
        }
    }

    #[test]
    fn only_stars_alone_mean_everything() {
        for (pattern, everything) in
            [("*", true), ("**", true), ("", false), ("a*", false), ("*a", false), ("*a*", false)]
        {
            assert_eq!(Glob::new(pattern).is_everything(), everything, "{pattern}");
        }
    }

    #[test]
    fn a_requested_star_overlaps_what_it_may_be_and_is_covered_by_what_takes_all_of_it() {
        for (pattern, scope, overlaps, covers) in [
            ("db.write", "db.*", true, false),
            ("db.*", "db.*", true, true),
            ("db.*", "db.write.*", true, true),
            ("db.write.*", "db.*", true, false),
            ("db.*", "*", true, false),
            ("*", "*", true, true),
            ("*", "db.*", true, true),
            ("*.read", "db.*", true, false),
            ("*.read", "db.read", true, true),
            ("secrets.*", "db.*", false, false),
            ("db.", "db.*", false, false),
            ("db", "db.*", false, false),
            ("db*", "db.*", true, true),
            ("d*b.*", "db.*", true, true),
            ("d*x.*", "db.*", true, false),
            ("db.write", "db.write", true, true),
            ("db.write", "db.read", false, false),
        ] {
            let glob = Glob::new(pattern);
            assert_eq!(glob.overlaps_scope(scope), overlaps, "{pattern} overlaps {scope}");
            assert_eq!(glob.covers_scope(scope), covers, "{pattern} covers {scope}");
        }
    }

    /// The definition, letter by letter.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                naive(rest, text) || text.split_first().is_some_and(|(_, t)| naive(pattern, t))
            }
            (Some((p, rest)), Some((t, after))) => p == t && naive(rest, after),
            _ => false,
        }
    }

    /// All texts over the letters of `ab.` and a letter that no pattern names, of 1 to 5 letters.
    fn completions() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..5 {
            longest = longest
                .iter()
                .flat_map(|text| "ab.z".chars().map(move |c| format!("{text}{c}")))
                .collect();
            all.extend(longest.iter().cloned());
        }
        all.retain(|text| !text.is_empty());
        all
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab.*]{0,8}", text in "[ab.]{0,10}") {
            prop_assert_eq!(
                Glob::new(&pattern).matches(&text),
                naive(pattern.as_bytes(), text.as_bytes())
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn overlap_and_cover_are_what_trying_every_scope_says(
            pattern in "[ab.*]{0,5}",
            stem in "[ab.]{0,3}",
        ) {
            let glob = Glob::new(&pattern);
            let scope = format!("{stem}*");
            let meant: Vec<bool> =
                completions().iter().map(|end| glob.matches(&format!("{stem}{end}"))).collect();
            prop_assert_eq!(glob.overlaps_scope(&scope), meant.contains(&true));
            prop_assert_eq!(glob.covers_scope(&scope), !meant.contains(&false));
        }
    }
}
