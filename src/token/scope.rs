//! Scopes: what a token allows, spelled `name(.name)*`, the last segment perhaps `*`.
//!
//! A name is ASCII letters, digits, `_`, `-` and `:`. A trailing `*` stands for one or more
//! segments: `db.*` covers `db.read` and `db.read.rows` but not `db`; `*` alone covers every scope.

/// Longest scope.
pub const SCOPE_MAX_BYTES: usize = 128;

/// Whether `scope` is spelled as a scope is.
pub fn is_valid(scope: &str) -> bool {
    let names = match scope.rsplit_once('.') {
        Some((names, "*")) => names,
        None if scope == "*" => return true,
        _ => scope,
    };
    scope.len() <= SCOPE_MAX_BYTES && names.split('.').all(is_name)
}

fn is_name(segment: &str) -> bool {
    !segment.is_empty()
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':'))
}

/// Whether whoever holds `granted` may do all that `required` stands for.
pub fn covers(granted: &str, required: &str) -> bool {
    match granted.strip_suffix('*') {
        Some(stem) => required.strip_prefix(stem).is_some_and(|rest| !rest.is_empty()),
        None => granted == required,
    }
}

/// Whether there is anything that both stand for.
pub fn overlaps(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scope_is_names_with_dots_and_perhaps_a_star_at_the_end() {
        let longest = "a".repeat(SCOPE_MAX_BYTES);
        let with_star = format!("{}.*", "a".repeat(SCOPE_MAX_BYTES - 2));
        for good in ["a", "db.read", "db.*", "*", "a.b.c.*", "A-1_x:y.z", "0", &longest, &with_star]
        {
            assert!(is_valid(good), "{good}");
        }
        let too_long = "a".repeat(SCOPE_MAX_BYTES + 1);
        let star_too_long = format!("{}.*", "a".repeat(SCOPE_MAX_BYTES - 1));
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "*.a",
            "a.*.b",
            "a*",
            "a.b*",
            "**",
            "*.*",
            "a.**",
            ".*",
            "a/b",
            "é",
            "a\n",
            "a\0",
            " a",
            &too_long,
            &star_too_long,
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_star_covers_every_depth_below_it_and_nothing_beside() {
        for (granted, required) in [
            ("db.read", "db.read"),
            ("db.*", "db.read"),
            ("db.*", "db.read.rows"),
            ("db.*", "db.*"),
            ("db.*", "db.read.*"),
            ("*", "db"),
            ("*", "db.*"),
            ("*", "*"),
        ] {
            assert!(covers(granted, required), "{granted} {required}");
        }
        for (granted, required) in [
            ("db.read", "db.write"),
            ("db.read", "db.read.rows"),
            ("db.read", "db.*"),
            ("db.read", "DB.read"),
            ("db.*", "db"),
            ("db.*", "dbx.read"),
            ("db.*", "*"),
            ("db.read.*", "db.*"),
            ("*", ""),
        ] {
            assert!(!covers(granted, required), "{granted} {required}");
        }
    }

    #[test]
    fn scopes_overlap_when_some_scope_is_covered_by_both() {
        assert!(overlaps("db.*", "db.write"));
        assert!(overlaps("db.write", "db.*"));
        assert!(overlaps("db.*", "db.a.*"));
        assert!(!overlaps("db.a.*", "db.b.*"));
        assert!(!overlaps("db.read", "db.write"));
        assert!(!overlaps("db.*", "db"));
    }

    fn scope() -> impl Strategy<Value = String> {
        ("[ab](\\.[ab]){0,2}", any::<bool>())
            .prop_map(|(names, star)| if star { format!("{names}.*") } else { names })
    }

    proptest! {
        #[test]
        fn covering_is_a_partial_order_and_overlap_has_a_witness(
            a in scope(), b in scope(), c in scope()
        ) {
            prop_assert!(is_valid(&a));
            prop_assert!(covers(&a, &a));
            prop_assert!(!(covers(&a, &b) && covers(&b, &c)) || covers(&a, &c));
            prop_assert!(!(covers(&a, &b) && covers(&b, &a)) || a == b);
            if covers(&a, &c) && covers(&b, &c) {
                prop_assert!(overlaps(&a, &b));
            }
        }
    }
}
