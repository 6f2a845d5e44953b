//! The commands of `docs/limits.md`, run against a node that is started as the page says.
//!
//! Every `sh` block runs, in order, in one bash; a `text` block right after one is what it prints.

use std::process::Command;

use crate::process::Node;

const PAGE: &str = include_str!("../../docs/limits.md");

/// Printed after each block. No command prints a record separator.
const SEPARATOR: char = '\u{1e}';

/// Each `sh` block, and what the page says that it prints.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut fences = PAGE.split("```");
    let mut blocks: Vec<(&str, &str)> = Vec::new();
    let mut between = fences.next().unwrap_or_default();
    while let (Some(block), after) = (fences.next(), fences.next().unwrap_or_default()) {
        match (block.strip_prefix("sh\n"), block.strip_prefix("text\n"), blocks.last_mut()) {
            (Some(script), _, _) => blocks.push((script, "")),
            (_, Some(output), Some(last)) if between.trim().is_empty() => last.1 = output,
            _ => {}
        }
        between = after;
    }
    blocks
}

#[tokio::test]
async fn the_commands_of_the_page_print_what_it_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(PAGE.contains("authrai dev --plan free"), "that is how the node is started");
    let mut node = Node::dev(&folder.path().join("data"), &["--plan", "free"]);
    node.ready().await;
    let blocks = blocks();
    assert!(blocks.len() > 4, "the page shows its commands");
    let mut script = String::from("set -euo pipefail\n");
    for (block, _) in &blocks {
        script.push_str(block);
        script.push_str("\nprintf '\\x1e'\n");
    }
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("AUTHRAI_URL", node.url())
        .env("AUTHRAI_KEY", node.shown_key("rai_pk_live_"))
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
    node.stop();
}
