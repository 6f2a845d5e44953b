//! The command line: what it refuses, in which words, with which exit code.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;

use crate::harness::{PATIENCE, client, until};
use crate::process::{Node, authrai};

const USAGE: i32 = 64;
const DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const CANNOT_CREATE: i32 = 73;
const BUSY: i32 = 75;
const CONFIG: i32 = 78;
const INTERRUPTED: i32 = 130;

/// Runs a command that ends by itself.
fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    authrai(arguments).envs(env.iter().copied()).output().expect("the binary")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What a failed command says on standard error, which is one `authrai: …` and no backtrace.
#[track_caller]
fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.lines().any(|line| line.starts_with("authrai: ")), "{text}");
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    text
}

#[test]
fn help_and_version_are_successes_and_a_wrong_flag_is_not() {
    assert!(out(&run(&["--version"], &[])).starts_with("authrai 0."));
    assert!(out(&run(&["--help"], &[])).contains("Exit codes:"));
    for command in ["dev", "serve", "cluster", "backup", "config", "health", "key", "completions"] {
        let output = run(&[command, "--help"], &[]);
        assert!(output.status.success(), "{command}");
    }
    let output = run(&["dev", "--lsten", "x"], &[]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--listen"));
}

#[test]
fn an_unknown_key_is_refused_with_the_right_one_wherever_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authrai.toml");
    std::fs::write(&file, "[tokens]\nisuer = \"x\"\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    for command in [&["config", "show"][..], &["serve"], &["cluster", "init"]] {
        let output = run(&[command, &["--config", file]].concat(), &[]);
        let text = complaint(&output, CONFIG);
        assert!(text.contains(&format!("{file}:2")) && text.contains("`tokens.issuer`"), "{text}");
    }
    for command in [&["config", "show"][..], &["serve"], &["dev"]] {
        let output = run(command, &[("AUTHRAI_TOKENS__ISUER", "x")]);
        let text = complaint(&output, CONFIG);
        assert!(text.contains("did you mean `AUTHRAI_TOKENS__ISSUER`?"), "{text}");
    }
    let text = complaint(&run(&["dev", "--set", "log.lvl=info"], &[]), CONFIG);
    assert!(text.contains("did you mean `log.level`?"), "{text}");
}

#[test]
fn config_show_says_where_values_come_from_and_hides_secrets() {
    let key = out(&run(&["key", "generate"], &[]));
    let env = [("AUTHRAI_DEV__API_KEY", key.trim()), ("AUTHRAI_LOG__FORMAT", "json")];
    for format in ["toml", "json"] {
        let output = run(&["config", "show", "--dev", "--format", format], &env);
        let shown = out(&output);
        assert!(output.status.success(), "{shown}");
        assert!(shown.contains("(hidden)") && !shown.contains(key.trim()), "{shown}");
        assert!(shown.contains("environment variable AUTHRAI_LOG__FORMAT"), "{shown}");
    }
}

#[test]
fn a_malformed_fixed_key_is_refused_and_not_repeated() {
    let good = out(&run(&["key", "generate"], &[]));
    let good = good.trim();
    let test = out(&run(&["key", "generate", "--environment", "test"], &[]));
    let changed = format!("{}x", &good[..good.len() - 1]);
    for wrong in ["hunter2", &changed, test.trim(), &good[..30]] {
        let text = complaint(&run(&["dev", "--api-key", wrong], &[]), USAGE);
        assert!(text.contains("authrai key generate"), "{text}");
        assert!(!text.contains(wrong), "{text}");
    }
}

#[tokio::test]
async fn a_taken_port_or_a_locked_directory_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let mut node = Node::dev(&data_dir, &[]);
    node.ready().await;

    let other = folder.path().join("other");
    let arguments =
        ["dev", "--listen", node.address(), "--data-dir", other.to_str().expect("UTF-8")];
    let text = complaint(&run(&arguments, &[]), UNAVAILABLE);
    assert!(text.contains(node.address()) && text.contains("Another process"), "{text}");

    let mut second = Node::dev(&data_dir, &[]);
    assert_eq!(second.ended().code(), Some(BUSY), "{}", second.log());
    assert!(second.log().contains("in use by another process"), "{}", second.log());
    node.stop();
}

#[test]
fn a_directory_that_cannot_be_written_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let below = file.join("data");
    let below = below.to_str().expect("UTF-8");
    let text = complaint(
        &run(&["dev", "--listen", "127.0.0.1:0", "--data-dir", below], &[]),
        CANNOT_CREATE,
    );
    assert!(text.contains(below), "{text}");
}

#[tokio::test]
async fn damaged_data_is_named_and_not_started_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let mut node = Node::dev(&data_dir, &[]);
    node.ready().await;
    node.stop();
    let database = largest_file(&data_dir);
    let mut bytes = std::fs::read(&database).expect("readable");
    let filled = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    for at in (filled / 4..filled).step_by(64) {
        bytes[at] ^= 0x55;
    }
    std::fs::write(&database, bytes).expect("written");
    let mut node = Node::dev(&data_dir, &[]);
    assert_eq!(node.ended().code(), Some(DATA), "{}", node.log());
    assert!(node.log().contains("damaged"), "{}", node.log());
    assert!(!node.log().contains("panic"), "{}", node.log());
}

fn largest_file(folder: &Path) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut largest = (0, folder.to_owned());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = path.metadata().expect("there");
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.len() > largest.0 {
                largest = (metadata.len(), path);
            }
        }
    }
    largest.1
}

#[tokio::test]
async fn dev_shows_its_keys_once_and_takes_a_fixed_one_at_every_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let mut node = Node::dev(&data_dir, &[]);
    node.ready().await;
    let (first, operator) = (node.shown_key("rai_pk_live_"), node.shown_key("rai_op_"));
    assert!(may_read_agents(&node, &first).await);
    node.stop();

    let mut node = Node::dev(&data_dir, &[]);
    node.ready().await;
    let printed = node.printed();
    assert!(!printed.contains(&first) && !printed.contains(&operator), "{printed}");
    assert!(printed.contains("key generate"), "{printed}");
    assert!(may_read_agents(&node, &first).await, "the first key still works");
    node.stop();

    let fixed = out(&run(&["key", "generate"], &[]));
    for _ in 0..2 {
        let mut node = Node::dev(&data_dir, &["--api-key", fixed.trim()]);
        node.ready().await;
        assert_eq!(node.shown_key("rai_pk_live_"), fixed.trim());
        assert!(may_read_agents(&node, fixed.trim()).await);
        node.stop();
    }
}

async fn may_read_agents(node: &Node, key: &str) -> bool {
    let url = format!("{}/v1/agents", node.url());
    client().get(url).bearer_auth(key).send().await.expect("an answer").status().is_success()
}

#[tokio::test]
async fn production_is_founded_once_then_served_then_drained() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authrai.toml");
    let data_dir = folder.path().join("data");
    let toml = format!("data_dir = {data_dir:?}\n[metrics]\nlisten = \"\"\n");
    std::fs::write(&file, toml).expect("written");
    let file = file.to_str().expect("UTF-8");

    let text = complaint(&run(&["serve", "--config", file], &[]), CONFIG);
    assert!(text.contains(&format!("authrai cluster init --config {file}")), "{text}");
    assert!(!data_dir.exists(), "a refusal leaves nothing behind");

    let founded = run(&["cluster", "init", "--config", file], &[]);
    let text = out(&founded);
    assert!(founded.status.success() && text.contains("rai_op_"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &data_dir.join("secrets.key").metadata().expect("made").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let again = complaint(&run(&["cluster", "init", "--config", file], &[]), CONFIG);
    assert!(again.contains("already holds a cluster"), "{again}");

    let mut node = Node::spawn(authrai(&["serve", "--config", file]));
    node.ready().await;
    let operator = text.split_whitespace().find(|word| word.starts_with("rai_op_"));
    let url = format!("{}/v1/organizations", node.url());
    let answer = client().get(&url).bearer_auth(operator.expect("shown")).send().await;
    assert!(answer.expect("an answer").status().is_success());

    let url = node.url();
    assert!(run(&["health", "--url", &url], &[]).status.success());
    assert!(run(&["health"], &[("AUTHRAI__LISTEN", node.address())]).status.success());
    node.stop();
    let text = complaint(&run(&["health", "--url", &url], &[]), UNAVAILABLE);
    assert!(text.contains("does not answer"), "{text}");
}

#[tokio::test]
async fn sigterm_and_sigint_end_a_node_with_success_at_any_time() {
    let folder = tempfile::tempdir().expect("a folder");
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Node::dev(folder.path(), &[]);
        node.ready().await;
        node.signal(signal);
        assert!(node.ended().success(), "{}", node.log());
    }
    // While it starts: as soon as it has the port, which it takes first.
    let mut node = Node::dev(folder.path(), &[]);
    until("the port", || async { TcpStream::connect(node.address()).is_ok().then_some(()) }).await;
    node.signal(Signal::TERM);
    assert!(node.ended().success(), "{}", node.log());
}

/// A request that the node waits to read the body of.
fn half_sent(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let head = "POST /v1/tokens/verify HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 13\r\n\
                expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).expect("answered");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Waits until nobody listens on `address` any more.
async fn closed(address: &str) {
    until("the port to be closed", || async { TcpStream::connect(address).is_err().then_some(()) })
        .await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_unless_a_second_signal_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::dev(folder.path(), &[]);
    node.ready().await;
    let mut request = half_sent(node.address());
    node.signal(Signal::TERM);
    closed(node.address()).await;
    request.write_all(br#"{"token":"x"}"#).expect("sent");
    let mut answer = String::new();
    request.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("malformed"), "{answer}");
    assert!(node.ended().success(), "{}", node.log());

    let mut node = Node::dev(folder.path(), &[]);
    node.ready().await;
    let _request = half_sent(node.address());
    node.signal(Signal::TERM);
    closed(node.address()).await;
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(INTERRUPTED), "{}", node.log());
}

#[tokio::test]
async fn no_secret_is_logged_even_at_the_lowest_level() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::dev(folder.path(), &["--set", "log.level=trace"]);
    node.ready().await;
    let key = node.shown_key("rai_pk_live_");
    let post = |path: &str, body: serde_json::Value| {
        let url = format!("{}{path}", node.url());
        let request = client().post(url).bearer_auth(&key).json(&body);
        async { request.send().await.expect("an answer").json::<serde_json::Value>().await }
    };
    let agent = post("/v1/agents", serde_json::json!({"name": "a", "owner": "o"})).await;
    let agent = agent.expect("JSON");
    let body = serde_json::json!({"agent_id": agent["id"], "scope": ["a.b"]});
    let token = post("/v1/tokens", body).await.expect("JSON");
    let body = serde_json::json!({"token": token["token"]});
    post("/v1/tokens/verify", body).await.expect("JSON");
    let operator = node.shown_key("rai_op_");
    node.stop();
    let log = node.log();
    let secrets = [
        &key,
        &operator,
        agent["secret_key"].as_str().expect("shown"),
        token["token"].as_str().expect("issued"),
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "logged: {}…", &secret[..12]);
    }
}
