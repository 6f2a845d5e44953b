//! The commands of pages below `docs/`, run against nodes that are started as each page says.
//!
//! Every `sh` block runs, in order, in one bash; a `text` block right after one is what it prints. The
//! README's `bash` blocks are those that a whole cluster runs for.

use std::{path::Path, process::Command};

use crate::{cluster::Script, process::Node};

/// Printed after each block. No command prints a record separator.
const SEPARATOR: char = '\u{1e}';

/// Each block in `language`, and what the page says that it prints.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let mut fences = page.split("```");
    let mut blocks: Vec<(&str, &str)> = Vec::new();
    let mut between = fences.next().unwrap_or_default();
    while let (Some(block), after) = (fences.next(), fences.next().unwrap_or_default()) {
        let (of, text) = block.split_once('\n').unwrap_or_default();
        match blocks.last_mut() {
            _ if of == language => blocks.push((text, "")),
            Some(last) if of == "text" && between.trim().is_empty() => last.1 = text,
            _ => {}
        }
        between = after;
    }
    blocks
}

/// Runs the page against `authrai dev` with these flags.
async fn run(page: &str, flags: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let start = ["authrai", "dev"].iter().chain(flags).copied().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&start), "that is how the node is started");
    let mut node = Node::dev(&folder.path().join("data"), flags);
    node.ready().await;
    let blocks = blocks(page, "sh");
    assert!(blocks.len() > 4, "the page shows its commands");
    let key = node.shown_key("rai_pk_live_");
    compare(&blocks, folder.path(), &[("AUTHRAI_URL", node.url()), ("AUTHRAI_KEY", key)]);
    node.stop();
}

/// Runs the blocks in `folder`: each must succeed, and print what is shown.
fn compare(blocks: &[(&str, &str)], folder: &Path, environment: &[(&str, String)]) {
    let mut script = String::from("set -euo pipefail\n");
    for (block, _) in blocks {
        script.push_str(block);
        script.push_str("\nprintf '\\x1e'\n");
    }
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .envs(environment.iter().cloned())
        .output()
        .expect("bash");
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}: {errors}\n{printed}", output.status);
    let printed: Vec<&str> = printed.split_terminator(SEPARATOR).collect();
    assert_eq!(printed.len(), blocks.len());
    for ((script, shown), printed) in blocks.iter().zip(printed) {
        assert_eq!(printed.trim(), shown.trim(), "{script}");
    }
}

/// Where the README says that a cluster is, less the last digit.
const SHOWN_PORTS: &str = "127.0.0.1:818";

#[test]
fn the_readme_kills_a_leader_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join(".authrai-cluster");
    let script = Script::new(&data_dir);
    let readme = include_str!("../../README.md")
        .replace(SHOWN_PORTS, script.address(0).strip_suffix('0').expect("ten ports"))
        .replace("scripts/cluster > ", &format!("{} > ", script.command()))
        .replace("scripts/cluster --stop", &format!("{} --stop", script.command()));
    let blocks = blocks(&readme, "bash");
    assert!(blocks.len() > 2, "the README shows a cluster");
    compare(&blocks, folder.path(), &Script::environment());
}

#[tokio::test]
async fn the_page_on_limits_prints_what_it_shows() {
    run(include_str!("../../docs/limits.md"), &["--plan", "free"]).await;
}

#[tokio::test]
async fn the_page_on_policies_prints_what_it_shows() {
    run(include_str!("../../docs/policies.md"), &[]).await;
}
