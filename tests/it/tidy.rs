//! The house rules that a reader can check from the text alone: who imports whom, what a pure room
//! must not mention, that every file says what it is, and that nothing is left unfinished.
//!
//! `docs/architecture.md` states the rules. Test code is exempt from the import rules, since a test
//! may bring rooms together.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file.
const LINES_MAX: usize = 500;

/// Rooms that every other may import: vocabulary without behaviour of its own.
const COMMON: &[&str] = &["limits", "rfc3339"];

/// Each room of `src/`, and the others that it may import besides [`COMMON`]. `cluster` stands for
/// the crate `authrai_cluster`.
const ROOMS: &[(&str, &[&str])] = &[
    // The token room stands alone, so its own bounds are re-exported.
    ("limits", &["token"]),
    ("rfc3339", &[]),
    ("clock", &[]),
    ("codec", &[]),
    ("mint", &["domain"]),
    ("config", &["dns"]),
    ("dns", &[]),
    ("fair", &[]),
    ("handover", &["cluster", "secrets"]),
    ("token", &[]),
    ("secrets", &["codec"]),
    ("domain", &["token", "codec"]),
    ("verify", &["domain", "token"]),
    ("webhooks", &["dns", "domain", "secrets"]),
    ("policy", &["domain", "token"]),
    ("signature", &[]),
    ("audit/chain", &["domain", "token"]),
    ("audit", &["domain", "token", "codec", "fair", "cluster"]),
    ("machine", &["cluster", "domain", "audit", "verify", "codec"]),
    (
        "actors",
        &[
            "cluster", "machine", "audit", "verify", "policy", "dns", "domain", "token", "secrets",
            "codec", "clock", "fair", "mint", "webhooks",
        ],
    ),
    ("setup", &["actors", "domain", "mint", "secrets", "verify"]),
    ("effects", &["cluster", "domain", "verify", "actors"]),
    (
        "api",
        &[
            "actors",
            "audit",
            "clock",
            "cluster",
            "codec",
            "config",
            "dns",
            "domain",
            "fair",
            "handover",
            "machine",
            "mint",
            "policy",
            "secrets",
            "signature",
            "token",
            "verify",
            "webhooks",
        ],
    ),
    (
        "server",
        &[
            "actors", "api", "audit", "clock", "cluster", "codec", "config", "dns", "domain",
            "effects", "handover", "machine", "mint", "secrets", "token", "verify", "webhooks",
        ],
    ),
    (
        "cli",
        &[
            "actors", "audit", "clock", "cluster", "config", "domain", "secrets", "server",
            "setup", "token",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Libraries that belong to some rooms alone.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("axum", &["api", "web", "server"]),
    ("utoipa", &["api", "web", "server"]),
    ("utoipa_axum", &["api", "web", "server"]),
    ("utoipa_swagger_ui", &["api", "web", "server"]),
    ("tower_http", &["api", "web", "server"]),
    ("ractor", &["actors"]),
    ("openraft", &["cluster"]),
    ("sled", &["cluster"]),
    ("clap", &["cli", "main"]),
    ("toml", &["config"]),
    ("hickory_resolver", &["dns"]),
    ("idna", &["dns"]),
    ("psl", &["dns"]),
    ("regex_automata", &["policy"]),
];

/// What a room that must be a function of its input does not mention.
const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
    "f32",
    "f64",
    "async",
    "tokio",
    "getrandom",
    "Mutex",
    "RwLock",
    "std::fs",
    "std::net",
    "std::env",
    "println!",
    "tracing",
];
const PURE_ROOMS: &[&str] = &["domain", "audit/chain"];

/// A source file, cut into what runs in production and the rest.
struct Source {
    path: PathBuf,
    room: String,
    text: String,
    /// `text` up to its unit tests, without comments.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All Rust files below the directories, relative to the root and sorted.
fn sources(dirs: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for dir in dirs {
        rust_files(&root().join(dir), &mut paths);
    }
    paths.sort();
    paths.into_iter().map(|path| source(&path)).collect()
}

fn source(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let path = path.strip_prefix(root()).unwrap().to_owned();
    let is_test = path
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "benches")));
    let code = if is_test { String::new() } else { production_code(&text) };
    Source { room: room_of(&path), path, text, code }
}

fn production_code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The room that a file stands in: the longest entry of [`ROOMS`] that its path begins with.
fn room_of(path: &Path) -> String {
    let path = path.with_extension("");
    let path = path.to_string_lossy();
    let Some(inside) = path.strip_prefix("src/") else {
        return path.split('/').next().unwrap_or_default().to_owned();
    };
    let in_room = |room: &str| {
        inside.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let known = ROOMS.iter().map(|(room, _)| *room).filter(|room| in_room(room));
    let fallback = inside.split('/').next().unwrap_or_default();
    known.max_by_key(|room| room.len()).unwrap_or(fallback).to_owned()
}

/// Words of `code` that stand before `::`, as in `use axum::…` or `sled::open`.
fn path_heads(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("::").filter_map(|(at, _)| {
        let head = &code[..at];
        let start = head.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        let is_head = !head[..start].ends_with("::");
        is_head.then(|| &head[start..]).filter(|word| !word.is_empty())
    })
}

/// Rooms that `code` imports: `crate::room`, `crate::{room, …}` and the cluster crate.
fn imported_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group_heads(group)),
            None => rooms.push(first_word(rest)),
        }
    }
    if path_heads(code).any(|head| head == "authrai_cluster") {
        rooms.push("cluster".to_owned());
    }
    rooms
}

/// The first words of the members of a `{…}` group, nested groups left out.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut member = String::new();
    let mut heads = Vec::new();
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(first_word(&std::mem::take(&mut member))),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    heads.push(first_word(&member));
    heads.retain(|head| !head.is_empty());
    heads
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn rooms_import_only_what_the_house_allows() {
    let mut breaches = Vec::new();
    for file in sources(&["src"]) {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == file.room) else {
            breaches.push(format!("{}: no rule for room `{}`", file.path.display(), file.room));
            continue;
        };
        let own = file.room.split('/').next().unwrap_or_default();
        for import in imported_rooms(&file.code) {
            let is_room = import == "cluster" || ROOMS.iter().any(|(room, _)| *room == import);
            let may = import == own
                || COMMON.contains(&import.as_str())
                || allowed.contains(&import.as_str());
            if is_room && !may {
                let (path, room) = (file.path.display(), &file.room);
                breaches.push(format!("{path}: `{room}` must not import `{import}`"));
            }
        }
        if file.code.contains("super::super::") {
            let path = file.path.display();
            breaches.push(format!("{path}: say `crate::…` instead of `super::super::…`"));
        }
    }
    assert_none(&breaches);
}

#[test]
fn libraries_stay_in_the_rooms_that_own_them() {
    let mut breaches = Vec::new();
    for file in sources(&["src", "cluster/src"]) {
        for (library, owners) in LIBRARIES {
            let top = file.room.split('/').next().unwrap_or_default();
            if path_heads(&file.code).any(|head| head == *library) && !owners.contains(&top) {
                breaches
                    .push(format!("{}: `{library}` belongs to {owners:?}", file.path.display()));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn pure_rooms_mention_no_clock_randomness_float_hash_order_io_lock_or_async() {
    let mut breaches = Vec::new();
    for file in sources(&["src"]).iter().filter(|file| PURE_ROOMS.contains(&file.room.as_str())) {
        for word in IMPURE {
            let found = file.code.match_indices(word).any(|(at, _)| {
                let joins = |c: char| c.is_alphanumeric() || c == '_';
                !file.code[..at].ends_with(joins)
                    && !file.code[at + word.len()..].starts_with(joins)
            });
            if found {
                breaches.push(format!("{}: a pure room mentions `{word}`", file.path.display()));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut breaches = Vec::new();
    for file in sources(&["src", "cluster/src", "cluster/tests", "tests", "benches"]) {
        let (path, lines) = (file.path.display(), file.text.lines().count());
        if !file.text.starts_with("//!") {
            breaches.push(format!("{path}: open it with a `//!` module doc"));
        }
        if lines > LINES_MAX {
            breaches.push(format!("{path}: {lines} lines, more than {LINES_MAX}; split it"));
        }
    }
    assert_none(&breaches);
}

#[test]
fn every_exemption_from_a_lint_gives_its_reason() {
    let mut breaches = Vec::new();
    for file in sources(&["src", "cluster", "tests", "benches"]) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let attribute = line.trim_start();
            if !["#[allow(", "#![allow(", "#[expect("]
                .iter()
                .any(|open| attribute.starts_with(open))
            {
                continue;
            }
            let whole: Vec<&str> = lines[at..].iter().take(6).copied().collect();
            let whole = whole.join(" ");
            let has_reason = whole.split(")]").next().is_some_and(|it| it.contains("reason = "));
            let has_comment = at > 0 && lines[at - 1].trim_start().starts_with("// ");
            if !has_reason && !has_comment {
                breaches.push(format!("{}:{}: say why", file.path.display(), at + 1));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
    ];
    let mut breaches = Vec::new();
    for file in sources(&["src", "cluster", "tests", "benches"]) {
        for (at, line) in file.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                breaches.push(format!("{}:{}: `{mark}`", file.path.display(), at + 1));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn the_reader_of_imports_sees_every_spelling() {
    let code = "use crate::domain::{State};\nuse crate::{audit::chain, limits, token::{Claims, \
                Jwk}};\nlet x = authrai_cluster::limits::X; pub(crate) fn f() {} crate::api::f();";
    let mut rooms = imported_rooms(code);
    rooms.sort();
    assert_eq!(rooms, ["api", "audit", "cluster", "domain", "limits", "token"]);
    assert!(path_heads("let db = sled::open(p)").any(|head| head == "sled"));
    assert!(!path_heads("crate::sled::x").any(|head| head == "sled"));
}
