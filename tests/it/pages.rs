//! The commands of pages below `docs/`, run against nodes that are started as each page says.
//!
//! Every `sh` block runs, in order, in one bash; a `text` block right after one is what it prints.

use std::process::Command;

use crate::process::Node;

/// Printed after each block. No command prints a record separator.
const SEPARATOR: char = '\u{1e}';

/// Each `sh` block, and what the page says that it prints.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut fences = page.split("```");
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

/// Runs the page against `authrai dev` with these flags.
async fn run(page: &str, flags: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let start = ["authrai", "dev"].iter().chain(flags).copied().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&start), "that is how the node is started");
    let mut node = Node::dev(&folder.path().join("data"), flags);
    node.ready().await;
    let blocks = blocks(page);
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

#[tokio::test]
async fn the_page_on_limits_prints_what_it_shows() {
    run(include_str!("../../docs/limits.md"), &["--plan", "free"]).await;
}

#[tokio::test]
async fn the_page_on_policies_prints_what_it_shows() {
    run(include_str!("../../docs/policies.md"), &[]).await;
}
