//! Backups, from a running node to a restored cluster of two, as an operator makes them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{Caller, TestNode, client, free_address, text, until},
    process::{Node, authrai},
};

const NEGATIVE: i32 = 1;
const DATA: i32 = 65;
const CANNOT_CREATE: i32 = 73;
const CONFIG: i32 = 78;

/// Runs a command that ends by itself.
fn run(arguments: &[&str], operator_key: &str) -> Output {
    authrai(arguments).env("AUTHRAI_OPERATOR_KEY", operator_key).output().expect("the binary")
}

/// What it printed, of a command that must end like this.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    format!("{}{said}", String::from_utf8_lossy(&output.stdout))
}

fn backup_of(node: &TestNode, file: &Path) {
    let file = file.to_str().expect("a name");
    let key = node.operator.key.as_deref().expect("a key");
    ended(&run(&["backup", "create", file, "--url", &node.api.url], key), 0);
}

/// A place for restored nodes: their configurations, certificates and key files.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(key_file: &Path) -> Self {
        let this = Self { folder: tempfile::tempdir().expect("a folder") };
        let certs = this.path("certs");
        let made = ["cluster", "certs", "--nodes", "2", "--out", certs.to_str().expect("a name")];
        ended(&run(&made, ""), 0);
        for node in 1..=2 {
            let data = this.path(&format!("node-{node}"));
            fs::create_dir(&data).expect("made");
            fs::copy(key_file, data.join("secrets.key")).expect("copied");
            let config = format!(
                "data_dir = {data:?}\nnode_id = {node}\nlisten = \"127.0.0.1:0\"\n\
                 [tokens]\nissuer = {ISSUER:?}\n\
                 [metrics]\nlisten = \"{}\"\n\
                 [peers]\nlisten = \"{}\"\nca_file = {:?}\ncertificate_file = {:?}\nkey_file = {:?}\n",
                free_address(),
                free_address(),
                certs.join("ca.pem"),
                certs.join(format!("node-{node}.pem")),
                certs.join(format!("node-{node}.key")),
            );
            fs::write(this.path(&format!("node-{node}.toml")), config).expect("written");
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, node: u64) -> String {
        self.path(&format!("node-{node}.toml")).display().to_string()
    }

    /// The peers' address in a configuration.
    fn peers_address(&self, node: u64) -> String {
        let config = fs::read_to_string(self.config(node)).expect("read");
        let (_, peers) = config.split_once("[peers]\nlisten = \"").expect("an address");
        peers.split('"').next().expect("an address").to_owned()
    }

    fn restore(&self, file: &Path) -> Output {
        run(&["backup", "restore", file.to_str().expect("a name"), "--config", &self.config(1)], "")
    }
}

const ISSUER: &str = "https://auth.example";

/// The first word that starts like this.
fn shown(printed: &str, prefix: &str) -> String {
    let at = printed.find(prefix).unwrap_or_else(|| panic!("no {prefix} in {printed}"));
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    printed[at..].chars().take_while(|c| word(*c)).collect()
}

async fn export_holds(caller: &Caller, folder: &Path) {
    let verified = caller.get("/v1/audit/verify").await.expect(200);
    assert_eq!(verified["ok"], true, "{verified}");
    let file = folder.join("audit.json");
    fs::write(&file, caller.get("/v1/audit/export").await.text).expect("written");
    let head = text(&verified, "head_hash");
    let checked = run(&["audit", "verify", file.to_str().expect("a name"), "--head", &head], "");
    ended(&checked, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_revives_nothing_and_grows() {
    let node = TestNode::start_with(&[("tokens.issuer", ISSUER)]).await;
    let operator_key = node.operator.key.clone().expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.backup");
    let agent = node.api.agent("a").await;
    let (revoked_after, _) = node.api.token(&agent, &["a"]).await;
    let (revoked_before, _) = node.api.token(&agent, &["a"]).await;
    let (never_revoked, _) = node.api.token(&agent, &["a"]).await;
    node.api.post("/v1/tokens/revoke", &json!({"token": revoked_before})).await.expect(200);
    let gone = node.key("live", &["agents:read"]).await;
    let gone_agent = node.api.agent("gone").await;

    // Writes go on while it is made.
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writing = tokio::spawn({
        let (api, stop, written) = (node.api.clone(), stop.clone(), written.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                api.agent("meanwhile").await;
                written.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    until("a write", || async { (written.load(Ordering::SeqCst) > 0).then_some(()) }).await;
    let acknowledged = written.load(Ordering::SeqCst) + 2;
    tokio::task::block_in_place(|| backup_of(&node, &file));
    stop.store(true, Ordering::SeqCst);
    writing.await.expect("ended");

    let mode = fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let name = file.to_str().expect("a name");
    let again = ["backup", "create", name, "--url", &node.api.url];
    ended(&run(&again, &operator_key), CANNOT_CREATE);
    let other = folder.path().join("b.backup");
    backup_of(&node, &other);
    let over = other.to_str().expect("a name");
    let over = ["backup", "create", over, "--force", "--url", &node.api.url];
    ended(&run(&over, &operator_key), 0);
    let files = fs::read_dir(folder.path()).expect("read").count();
    assert_eq!(files, 2, "nothing is left of what was not finished");

    // What happens now is not in it.
    let (issued_after, _) = node.api.token(&agent, &["a"]).await;
    node.operator.post("/v1/cluster/keys/rotate", &json!({})).await.expect(200);
    let (by_a_later_key, _) = node.api.token(&agent, &["a"]).await;
    node.api.post("/v1/tokens/revoke", &json!({"token": revoked_after})).await.expect(200);
    let gone_id = text(&node.api.get("/v1/api-keys?limit=1").await.expect(200)["data"][0], "id");
    node.api.delete(&format!("/v1/api-keys/{gone_id}")).await.expect(200);
    node.api.delete(&format!("/v1/agents/{gone_agent}")).await.expect(200);
    let old_cluster = text(&node.operator.get("/v1/cluster").await.expect(200), "cluster_id");

    let printed = ended(&run(&["backup", "verify", name], ""), 0);
    for row in ["whole and unchanged", &old_cluster, "organisations  1\n", "API keys       2\n"] {
        assert!(printed.contains(row), "no {row:?} in {printed}");
    }
    let agents = printed.lines().find_map(|line| line.trim().strip_prefix("agents"));
    let agents: usize = agents.and_then(|n| n.trim().parse().ok()).expect("a number");
    assert!(agents >= acknowledged, "{agents} of {acknowledged}");

    // Nothing in the file opens anything, or is a private half.
    let bytes = fs::read(&file).expect("read");
    for key in [&operator_key, node.api.key.as_ref().expect("a key"), &never_revoked] {
        let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
        assert!(!found, "a secret stands in the backup");
    }

    let place = Place::new(&node.folder().join("data").join("secrets.key"));
    let node_api = node.api.clone();
    node.stop().await;
    damaged_files_are_refused(&place, &bytes, folder.path());
    without_its_key_file_nothing_is_restored(&place, &file);

    let printed = ended(&place.restore(&file), 0);
    let new_operator_key = shown(&printed, "rai_op_");
    assert!(printed.contains(&format!("serve --config {}", place.config(1))), "{printed}");
    ended(&place.restore(&file), CONFIG);

    let mut first = Node::spawn(authrai(&["serve", "--config", &place.config(1)]));
    first.ready().await;
    let api = Caller { url: first.url(), ..node_api };
    let gone = Caller { url: first.url(), ..gone };
    let operator = api.with_key(Some(&new_operator_key));
    let old_operator = api.with_key(Some(&operator_key));
    old_operator.get("/v1/cluster").await.expect_problem(401, "invalid_api_key");
    let cluster = operator.get("/v1/cluster").await.expect(200);
    assert_ne!(text(&cluster, "cluster_id"), old_cluster);
    assert_eq!(cluster["restored"]["backup_cluster_id"], old_cluster.as_str());
    assert_eq!(cluster["restored"]["suspended_api_keys"], 2);
    assert_eq!(cluster["restored"]["suspended_agents"], agents);
    let ask = |arguments: &[&str]| {
        ended(&run(&[arguments, &["--url", &first.url()]].concat(), &new_operator_key), 0)
    };
    assert!(ask(&["cluster", "status"]).contains("suspended: 2 API keys"));
    assert!(ask(&["backup", "suspended"]).contains(&gone_id));

    // One is lifted, and no other.
    for key in [&api, &gone] {
        key.get("/v1/agents").await.expect_problem(403, "api_key_suspended");
    }
    let listed = operator.get("/v1/cluster/suspensions").await.expect(200)["data"].clone();
    let is_kept = |one: &&Value| one["kind"] == "api_key" && one["id"] != gone_id.as_str();
    let kept = text(listed.as_array().expect("a list").iter().find(is_kept).expect("it"), "id");
    assert!(ask(&["backup", "lift", "--api-key", &kept]).contains("Still suspended: 1 API keys"));
    gone.get("/v1/agents").await.expect_problem(403, "api_key_suspended");
    let request = json!({"agent_id": agent, "scope": ["a"]});
    api.post("/v1/tokens", &request).await.expect_problem(409, "agent_suspended");
    ask(&["backup", "lift", "--agent", &agent]);
    let (new_token, _) = api.token(&agent, &["a"]).await;
    let request = json!({"agent_id": gone_agent, "scope": ["a"]});
    api.post("/v1/tokens", &request).await.expect_problem(409, "agent_suspended");

    // It grows as any cluster does; what is dead is dead there too.
    let member = format!("1@{}", place.peers_address(1));
    let joining = ["cluster", "join", "--config", &place.config(2), &member];
    let mut second = Node::spawn(authrai(&joining));
    second.ready().await;
    let elsewhere = Caller { url: second.url(), ..api.clone() };
    for node in [&api, &elsewhere] {
        for token in [&revoked_after, &revoked_before, &never_revoked, &issued_after] {
            assert_eq!(node.verdict(token).await, "revoked", "at {}", node.url);
        }
        assert_eq!(node.verdict(&by_a_later_key).await, "unknown_key", "at {}", node.url);
        assert_eq!(node.verdict(&new_token).await, "valid", "at {}", node.url);
        let gone = Caller { url: node.url.clone(), ..gone.clone() };
        gone.get("/v1/agents").await.expect_problem(403, "api_key_suspended");
        // The chains go on, from the first event of the old cluster.
        let told = node.get("/v1/audit?event=cluster.restored").await.expect(200);
        assert_eq!(told["total"], 1);
        export_holds(node, folder.path()).await;
        let operator = node.with_key(Some(&new_operator_key));
        export_holds(&operator, folder.path()).await;
    }
    ask(&["backup", "lift", "--all"]);
    gone.get("/v1/agents").await.expect(200);
    second.stop();
}

/// Each is named, and leaves nothing behind.
fn damaged_files_are_refused(place: &Place, good: &[u8], folder: &Path) {
    let bad = folder.join("bad.backup");
    let name = bad.to_str().expect("a name");
    let mut flipped = good.to_vec();
    flipped[good.len() / 2] ^= 1;
    for bytes in [&good[..good.len() - 1], &good[..good.len() / 2], &flipped] {
        fs::write(&bad, bytes).expect("written");
        assert!(
            ended(&run(&["backup", "verify", name], ""), NEGATIVE).contains("damaged in frame")
        );
        assert!(ended(&place.restore(&bad), DATA).contains("damaged in frame"));
    }
    fs::write(&bad, b"no backup at all").expect("written");
    assert!(ended(&run(&["backup", "verify", name], ""), NEGATIVE).contains("no backup"));
    let serve = run(&["serve", "--config", &place.config(1)], "");
    assert!(ended(&serve, CONFIG).contains("holds no node"));
}

fn without_its_key_file_nothing_is_restored(place: &Place, file: &Path) {
    let (key_file, aside) = (place.path("node-1").join("secrets.key"), place.path("aside"));
    fs::rename(&key_file, &aside).expect("moved");
    assert!(ended(&place.restore(file), CONFIG).contains("secrets.key"));
    fs::rename(&aside, &key_file).expect("moved");
}

/// The commands of the page, in a folder where the cluster's key file and the configuration are, with
/// `authrai` on the path; the addresses are those of the nodes that run.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_back_up_and_restore() {
    let page = include_str!("../../docs/cluster.md");
    let (_, section) = page.split_once("## Back up and restore").expect("the section");
    let fences: Vec<&str> = section.split("```sh\n").skip(1).collect();
    let [create, restore, lift] = fences.as_slice() else { panic!("{} blocks", fences.len()) };
    let folder = tempfile::tempdir().expect("a folder");
    let run = |block: &str, url: &str| {
        let script = block.split("```").next().unwrap_or_default();
        let script = script.replace("http://127.0.0.1:8080", url);
        let binary = Path::new(env!("CARGO_BIN_EXE_authrai")).parent().expect("a folder");
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
        let output = std::process::Command::new("bash")
            .args(["-c", &format!("set -euo pipefail\n{script}")])
            .current_dir(folder.path())
            .env("PATH", path)
            .output()
            .expect("bash");
        ended(&output, 0)
    };
    let node = TestNode::start().await;
    node.api.agent("a").await;
    let operator_key = node.operator.key.as_deref().expect("a key");
    fs::write(folder.path().join("operator-key"), operator_key).expect("written");
    let key_file = node.folder().join("data").join("secrets.key");
    fs::copy(key_file, folder.path().join("secrets.key")).expect("copied");
    assert!(run(create, &node.api.url).contains("whole and unchanged"));
    node.stop().await;
    let address = free_address();
    let config = format!(
        "data_dir = \"restored\"\nlisten = \"{address}\"\n[metrics]\nlisten = \"{address}\"\n"
    );
    fs::write(folder.path().join("restored.toml"), config).expect("written");
    assert!(run(restore, "").contains("A new cluster is founded"));
    let mut serve = authrai(&["serve", "--config", "restored.toml"]);
    serve.current_dir(folder.path());
    let mut restored = Node::spawn_as_configured(serve, &address.to_string());
    restored.ready().await;
    let printed = run(lift, "");
    assert!(printed.contains("2 suspended"), "{printed}");
    assert!(printed.contains("Lifted: 1 API keys, 1 agents."), "{printed}");
    restored.stop();
}

/// What a backup may add to the memory of the node, and less than half of its size.
const GROWTH_MAX_KIB: u64 = 16 * 1024;
const BACKUP_MIN_BYTES: u64 = 40 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_takes_no_memory_by_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::dev(&folder.path().join("data"), &[]);
    node.ready().await;
    let key = Some(node.shown_key("rai_pk_live_"));
    let api = Caller { client: client(), url: node.url(), key };
    let agent = format!("/v1/agents/{}", api.agent("a").await);
    // Some 10 KB an event.
    stream::iter(0..4_500)
        .for_each_concurrent(32, |n| {
            let metadata = (0..20).map(|key| (format!("k{key}"), format!("{n:0>500}").into()));
            let body = json!({"metadata": metadata.collect::<serde_json::Map<_, _>>()});
            let (api, agent) = (&api, &agent);
            async move {
                api.patch(agent, &body).await.expect(200);
            }
        })
        .await;
    let create = |file: &Path| {
        authrai(&["backup", "create"])
            .arg(file)
            .args(["--url", &node.url()])
            .env("AUTHRAI_OPERATOR_KEY", node.shown_key("rai_op_"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the binary")
    };
    // What the first takes for good, whatever its size: buffers, connections, threads.
    assert!(create(&folder.path().join("first")).wait().expect("a child").success());
    let file = folder.path().join("a.backup");
    let before = node.resident_kib();
    let mut creating = create(&file);
    let mut peak = before;
    let ended = until("a backup", || {
        peak = peak.max(node.resident_kib());
        let ended = creating.try_wait().expect("a child");
        async move { ended }
    })
    .await;
    assert!(ended.success());
    let bytes = fs::metadata(&file).expect("there").len();
    println!("{bytes} bytes, from {before} KiB to at most {peak} KiB");
    assert!(bytes > BACKUP_MIN_BYTES, "{bytes}");
    assert!(peak < before + GROWTH_MAX_KIB, "{before} KiB grew to {peak} KiB");
    node.stop();
}
