//! The README's own commands, run against a real node.
//!
//! Every `sh` block is run, in order, in one bash with `AUTHRAI_URL` and `AUTHRAI_KEY` set as the
//! README tells the reader to. The block of output that follows one must be what it prints, save
//! what differs from run to run: ids, times, keys, tokens, hashes and the port. What the node
//! prints at its start is compared in the same way.
//!
//! With `AUTHRAI_BLESS=1` in the environment, the outputs in the README are replaced instead.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Node, authrai};

/// Printed between two blocks. No command prints a record separator.
const SEPARATOR: char = '\u{1e}';
/// The address that the README shows.
const SHOWN_ADDRESS: &str = "127.0.0.1:8080";

/// How each secret starts, and how much of one the README shows.
const SECRETS: [&str; 4] = ["rai_pk_live_", "rai_op_", "rai_live_", "sk_live_"];
const SHOWN_CHARS: usize = 24;

/// A fenced block: its language, and where its content stands in the text.
struct Block {
    language: String,
    start: usize,
    end: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let after = at + line.len();
        if let Some(language) = line.strip_prefix("```") {
            if open {
                blocks.last_mut().expect("opened").end = at;
            } else {
                let language = language.trim().to_owned();
                blocks.push(Block { language, start: after, end: after });
            }
            open = !open;
        }
        at = after;
    }
    assert!(!open, "a fence is not closed");
    blocks
}

/// Each output block that is checked, with what is really printed there.
fn printed(readme: &str, blocks: &[Block], node: &Node, folder: &Path) -> Vec<(usize, String)> {
    let welcome = readme.find("<!-- welcome -->").expect("the welcome is marked");
    let welcome = blocks.iter().position(|block| block.start > welcome).expect("it has a block");
    let mut printed = vec![(welcome, node.printed())];

    let is_script = |at: &usize| blocks[*at].language == "sh";
    let scripts: Vec<usize> = (0..blocks.len()).filter(is_script).collect();
    assert!(scripts.len() >= 5, "the quickstart has its blocks");
    let mut script = String::from("set -euo pipefail\n");
    for at in &scripts {
        script.push_str(&readme[blocks[*at].start..blocks[*at].end]);
        script.push_str("\nprintf '\\x1e'\n");
    }
    let output = run(&script, node, folder);
    let outputs: Vec<&str> = output.split_terminator(SEPARATOR).collect();
    assert_eq!(outputs.len(), scripts.len(), "{output}");
    for (at, output) in scripts.iter().zip(outputs) {
        let follows = blocks.get(at + 1).is_some_and(|next| {
            matches!(next.language.as_str(), "json" | "text")
                && readme[blocks[*at].end..next.start].trim_matches(['`', '\n']).len() <= 4
        });
        assert!(follows || output.is_empty(), "a block prints this, but shows nothing: {output}");
        if follows {
            printed.push((at + 1, output.to_owned()));
        }
    }
    printed
}

fn run(script: &str, node: &Node, folder: &Path) -> String {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_authrai"));
    let programs = binary.parent().expect("a directory").display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("AUTHRAI_URL", node.url())
        .env("AUTHRAI_KEY", node.shown_key("rai_pk_live_"))
        .output()
        .expect("bash");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// `text` as the README shows it: its address, its directory, and long words cut short.
fn as_shown(text: &str, node: &Node, folder: &Path) -> String {
    let text = text.replace(node.address(), SHOWN_ADDRESS);
    let folder = folder.canonicalize().expect("a directory");
    let text = text.replace(&folder.display().to_string(), "~/authrai");
    map_words(&text, |word| {
        let secret = SECRETS.iter().any(|prefix| word.starts_with(prefix));
        match word.char_indices().nth(SHOWN_CHARS) {
            Some((cut, _)) if secret => format!("{}…", &word[..cut]),
            _ => word.to_owned(),
        }
    })
}

/// `text` without what differs from run to run.
fn normalised(text: &str) -> String {
    let text = map_words(text, |word| {
        let is_time = word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
        let is_hash = word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let long = word.len() >= SHOWN_CHARS;
        let mut prefixes = SECRETS.iter().chain(&["agent_", "tok_", "org_"]);
        let prefix = prefixes.find(|prefix| long && word.starts_with(**prefix));
        match prefix {
            Some(prefix) => format!("{prefix}…"),
            None if is_time => "TIME".to_owned(),
            None if is_hash => "HASH".to_owned(),
            None => word.to_owned(),
        }
    });
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// `text` with every word, which is what ids, tokens and times are made of, replaced.
fn map_words(text: &str, replace: impl Fn(&str) -> String) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '…');
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
        out.push_str(before);
        out.push_str(&replace(&from[..end]));
        rest = &from[end..];
    }
    out + rest
}

#[tokio::test]
async fn the_commands_of_the_readme_print_what_it_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let mut readme = std::fs::read_to_string(&path).expect("README.md");
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join(".authrai");
    let mut node = Node::dev(&data_dir, &[]);
    node.ready().await;

    let blocks = blocks(&readme);
    let printed = printed(&readme, &blocks, &node, folder.path());
    let bless = std::env::var_os("AUTHRAI_BLESS").is_some();
    for (at, output) in printed.into_iter().rev() {
        let Block { start, end, .. } = blocks[at];
        let output = as_shown(&output, &node, folder.path());
        if bless {
            readme.replace_range(start..end, &format!("{}\n", output.trim_end()));
        } else {
            assert_eq!(
                normalised(&readme[start..end]),
                normalised(&output),
                "the README shows something else; run this test with AUTHRAI_BLESS=1"
            );
        }
    }
    if bless {
        std::fs::write(path, readme).expect("written");
    }
    node.stop();
}

#[test]
fn the_exit_codes_of_the_readme_are_those_of_the_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let help = authrai(&["--help"]).output().expect("the binary").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let (_, codes) = help.split_once("Exit codes:").expect("a list");
    let expected: Vec<String> = codes
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| format!("| {code} | {meaning} |"))
        .collect();
    assert!(expected.len() > 8, "{help}");
    let (_, section) = readme.split_once("### Exit codes").expect("a section");
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2)
        .take(expected.len())
        .collect();
    assert_eq!(rows, expected);
}
