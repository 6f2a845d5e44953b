//! `scripts/cluster`: three processes on this machine, one API, a leader that is killed.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{
    Method,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Caller, client, text, until},
    receiver::{Receiver, register},
};

/// A cluster that ends with the test.
pub struct Script<'a> {
    dir: &'a Path,
    ports: Ports,
}

impl<'a> Script<'a> {
    /// A cluster in `dir`, which is not started.
    pub fn new(dir: &'a Path) -> Self {
        Self { dir, ports: Ports::claim() }
    }

    /// The command that starts it.
    pub fn command(&self) -> String {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster");
        format!("{program} --data-dir '{}' --base-port {}", self.dir.display(), self.ports.base)
    }

    /// The environment of the command.
    pub fn environment() -> [(&'static str, String); 4] {
        [
            ("AUTHRAI_BIN", env!("CARGO_BIN_EXE_authrai").to_owned()),
            // The receivers of the tests are on loopback.
            ("AUTHRAI_WEBHOOKS__ALLOW_PRIVATE", "true".to_owned()),
            // Nobody answers there.
            ("AUTHRAI_DNS__SERVERS", "127.0.0.1:1".to_owned()),
            ("AUTHRAI_DNS__TIMEOUT_MS", "100".to_owned()),
        ]
    }

    /// Where node `node`, counted from 0, answers.
    pub fn address(&self, node: u16) -> String {
        format!("127.0.0.1:{}", self.ports.base + node)
    }

    fn run(&self, more: &str) {
        let mut bash = Command::new("bash");
        let command = format!("{} {more}", self.command());
        let said =
            bash.args(["-c", &command]).envs(Self::environment()).output().expect("bash runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// Starts what does not run, and gives what the script wrote down.
    fn start(&self) -> Value {
        self.start_with("")
    }

    /// The same, with these arguments more.
    fn start_with(&self, more: &str) -> Value {
        self.run(more);
        let written = std::fs::read(self.dir.join("cluster.json")).expect("it is there");
        serde_json::from_slice(&written).expect("JSON")
    }
}

impl Drop for Script<'_> {
    fn drop(&mut self) {
        if self.dir.exists() {
            self.run("--stop");
        }
    }
}

/// Most nodes of a cluster here.
const NODES_MAX: u16 = 4;

/// Ports of one cluster: `base` and those after it for the API, a hundred higher for peers. While
/// `_claim` listens on the last of its 200, no other test takes any of them; they lie below the
/// ephemeral ones, so that others hardly do.
struct Ports {
    base: u16,
    _claim: TcpListener,
}

impl Ports {
    fn claim() -> Self {
        let listen = |port: u16| TcpListener::bind(("127.0.0.1", port)).ok();
        (20_000..31_000)
            .step_by(200)
            .find_map(|base: u16| {
                let claim = listen(base + 199)?;
                let free = (0..NODES_MAX).flat_map(|n| [base + n, base + 100 + n]);
                free.map(listen).collect::<Option<Vec<_>>>()?;
                Some(Self { base, _claim: claim })
            })
            .expect("free ports")
    }
}

fn kill(written: &Value, node: usize) {
    signal(written, node, "-9");
}

fn signal(written: &Value, node: usize, signal: &str) {
    // The shell's own: a bare Debian has no other.
    let kill = format!("kill {signal} {}", written["nodes"][node]["pid"]);
    assert!(Command::new("bash").args(["-c", &kill]).status().expect("bash runs").success());
}

fn caller(written: &Value, node: usize, key: &str) -> Caller {
    let url = written["nodes"][node]["url"].as_str().expect("a URL").to_owned();
    let key = Some(written[key].as_str().expect("a key").to_owned());
    Caller { client: client(), url, key }
}

/// The value of a series in what a node shows at /metrics.
async fn metric(node: &Caller, series: &str) -> Option<f64> {
    let shown = node.get("/metrics").await.text;
    let line = shown.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

async fn leader(operator: &Caller) -> Option<usize> {
    let members = operator.get("/v1/cluster").await.expect(200)["members"].clone();
    let leads = |member: &&Value| member["role"] == "leader";
    let id = members.as_array()?.iter().find(leads)?["id"].as_u64()?;
    usize::try_from(id - 1).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_processes_serves_on_when_its_leader_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = Script::new(dir.path());
    let written = script.start();
    let api: Vec<_> = (0..3).map(|node| caller(&written, node, "api_key")).collect();
    let operator: Vec<_> = (0..3).map(|node| caller(&written, node, "operator_key")).collect();

    // Whoever has a vote was given the key file, for its eyes only.
    let key_file = |node: u8| dir.path().join(format!("node-{node}/secrets.key"));
    let keys = std::fs::read(key_file(1)).expect("it is there");
    for node in 2..=3 {
        assert!(std::fs::read(key_file(node)).expect("it is there") == keys, "node {node}");
        let mode = std::fs::metadata(key_file(node)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "node {node}");
        let log = std::fs::read_to_string(dir.path().join(format!("node-{node}.log")));
        let secret = std::str::from_utf8(&keys).expect("text").lines().nth(1).expect("a key");
        let secret = secret.split(' ').nth(1).expect("a key");
        assert!(!log.expect("it is there").contains(secret), "node {node} tells");
    }

    // Issued at one node, known at every other.
    let agent = api[1].agent("a").await;
    let (token, id) = api[2].token(&agent, &["db.read"]).await;
    for node in &api {
        assert_eq!(node.verdict(&token).await, "valid", "at {}", node.url);
    }

    // The leader dies without a word; the others verify on, and soon write.
    let dead = until("a leader", || leader(&operator[0])).await;
    kill(&written, dead);
    let alive: Vec<_> = (0..3).filter(|node| *node != dead).collect();
    for node in &alive {
        assert_eq!(api[*node].verdict(&token).await, "valid", "a lease outlives the leader");
    }
    let revoke = json!({"token_id": id});
    until("a new leader revokes", || async {
        let answer = api[alive[0]].post("/v1/tokens/revoke", &revoke).await;
        answer.status.is_success().then_some(())
    })
    .await;
    for node in &alive {
        assert_eq!(api[*node].verdict(&token).await, "revoked");
    }

    // Started again, the dead one knows it too.
    let again = script.start();
    assert_eq!(again["api_key"], written["api_key"]);
    assert_eq!(api[dead].verdict(&token).await, "revoked");

    // Members and leadership change through any node.
    operator[alive[0]].delete(&format!("/v1/cluster/nodes/{}", dead + 1)).await.expect(200);
    let cluster = operator[alive[1]].get("/v1/cluster").await.expect(200);
    assert_eq!(cluster["members"].as_array().map(Vec::len), Some(2));
    let next = json!({"node_id": alive[0] + 1});
    operator[alive[1]].post("/v1/cluster/leader", &next).await.expect(200);
    assert_eq!(leader(&operator[alive[1]]).await, Some(alive[0]));
    let nobody = json!({"node_id": 99});
    let refused = operator[alive[1]].post("/v1/cluster/leader", &nobody).await;
    refused.expect_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_answered_every_other_knows_however_far_behind_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = Script::new(dir.path());
    let written = script.start();
    let api: Vec<_> = (0..3).map(|node| caller(&written, node, "api_key")).collect();
    let none = json!({});
    for n in 0..20 {
        let [here, there, elsewhere] = [0, 1, 2].map(|place| &api[(n + place) % 3]);
        let agent = here.agent("seen at once").await;
        assert_eq!(there.get(&format!("/v1/agents/{agent}")).await.expect(200)["id"], agent);
        elsewhere.token(&agent, &["db.read"]).await;
        let domain = json!({"domain": format!("n{n}.example")});
        let domain = text(&here.post("/v1/domains", &domain).await.expect(201), "id");
        let verify = format!("/v1/domains/{domain}/verify");
        there.post(&verify, &none).await.expect_problem(502, "dns_failed");
        for other in [there, elsewhere] {
            let (webhook, _) = register(here, "http://127.0.0.1:1/", &["agent.created"]).await;
            let path = format!("/v1/webhooks/{webhook}");
            let test = other.post(&format!("{path}/test"), &none).await;
            test.expect_problem(502, "webhook_test_failed");
            other.post(&format!("{path}/rotate-secret"), &none).await.expect(200);
            here.delete(&path).await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_left_alone_says_so_and_goes_on_once_the_others_are_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = Script::new(dir.path());
    let written = script.start();
    let operator = caller(&written, 0, "operator_key");
    let leads = until("a leader", || leader(&operator)).await;
    let left = (leads + 1) % 3;
    let alone = caller(&written, left, "api_key");
    let agent = alone.agent("a").await;
    let (token, _) = alone.token(&agent, &["db.read"]).await;
    for dead in [leads, (leads + 2) % 3] {
        kill(&written, dead);
    }
    let is_told_to_wait = |answer: &Answer| {
        let seconds = retry_after(&answer.headers);
        assert!(answer.status == 503 && seconds > Duration::ZERO, "{}", answer.text);
        text(&answer.json(), "code")
    };
    // Its lease still lets it check the key; whether the dead leader took the write it may not know.
    let answer = alone.post("/v1/agents", &json!({"name": "b", "owner": "o"})).await;
    let code = is_told_to_wait(&answer);
    assert!(["no_quorum", "outcome_unknown"].contains(&code.as_str()), "{code}");
    let refused = until("its lease to end", || async {
        let answer = alone.post("/v1/tokens/verify", &json!({"token": token})).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(is_told_to_wait(&refused), "verification_unavailable");
    let reason = text(&refused.json(), "reason");
    assert!(["no_leader", "catching_up"].contains(&reason.as_str()), "{}", refused.text);
    let unready = alone.get("/readyz").await;
    assert_eq!(is_told_to_wait(&unready), "not_ready");
    assert!(["no_leader", "catching_up"].contains(&text(&unready.json(), "reason").as_str()));
    tokio::task::block_in_place(|| script.start());
    assert_eq!(alone.verdict(&token).await, "valid");
    alone.agent("c").await;
}

/// How many events are made before the leader dies, and as many after.
const EVENTS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_delivered_once_by_the_node_that_leads() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = Script::new(dir.path());
    let written = script.start();
    let api: Vec<_> = (0..3).map(|node| caller(&written, node, "api_key")).collect();
    let operator = caller(&written, 0, "operator_key");
    let receiver = Receiver::start().await;
    let (webhook, secret) = register(&api[1], &receiver.url(), &["agent.created"]).await;
    for n in 0..EVENTS {
        api[n % 3].agent("told of").await;
    }
    let arrived = receiver.until_arrived(EVENTS).await;
    assert!(arrived.iter().all(|one| one.is_signed_with(&secret)));
    until("the deliveries to be recorded", || async {
        let path = format!("/v1/webhooks/{webhook}/deliveries?limit=1");
        let recorded = api[1].get(&path).await.expect(200);
        (recorded["total"] == EVENTS).then_some(())
    })
    .await;

    // Whoever leads next goes on where the dead one ended.
    let dead = until("a leader", || leader(&operator)).await;
    kill(&written, dead);
    let alive = &api[(dead + 1) % 3];
    let body = json!({"name": "told of", "owner": "o"});
    for _ in 0..EVENTS {
        // Refused while there is no leader, or while this node has no lease of the new one yet.
        until("a new leader writes", || async {
            alive.post("/v1/agents", &body).await.status.is_success().then_some(())
        })
        .await;
    }
    // A write that had no answer may have been made all the same.
    let told = alive.get("/v1/audit?event=agent.created&limit=1").await.expect(200);
    let made = told["total"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number");
    assert!(made >= 2 * EVENTS, "{made}");
    receiver.until_arrived(made).await;
    let ids = receiver.ids();
    assert_eq!(ids.len(), made, "each event has one id");
    // Nothing was under way when the leader died, so nothing had to be sent again.
    assert!(ids.values().all(|times| *times == 1), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_vote_verifies_exactly_and_passes_writes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = Script { dir: dir.path(), ports: Ports::claim() };
    let written = script.start_with("--learners 1");
    let (api, operator) = (caller(&written, 3, "api_key"), caller(&written, 3, "operator_key"));
    let members = operator.get("/v1/cluster").await.expect(200)["members"].clone();
    let learner = members.as_array().and_then(|all| all.last()).expect("four members");
    assert_eq!((&learner["voter"], &learner["role"]), (&json!(false), &json!("learner")));

    let key_file = dir.path().join("node-4/secrets.key");
    assert!(!key_file.exists(), "it has no use for the keys of others");

    // Whatever is asked there is done, and is seen there at once.
    let agent = api.agent("asked at the learner").await;
    assert_eq!(api.get(&format!("/v1/agents/{agent}")).await.expect(200)["id"], *agent);
    let named = [("Idempotency-Key", "once"), ("X-Request-Id", "mine")];
    let body = json!({"agent_id": agent, "scope": ["db.read"]});
    for _ in 0..2 {
        let answer = api.send_with(Method::POST, "/v1/tokens", Some(&body), &named).await;
        answer.expect(201);
        assert_eq!(answer.header("x-request-id"), Some("mine"));
        assert!(
            answer.header("authrai-log-index").is_some() && answer.header("ratelimit").is_some()
        );
    }
    let listed = api.get("/v1/tokens").await.expect(200)["total"].clone();
    assert_eq!(listed, 1, "the second request was answered by the first");
    // As it would be anywhere: the node that does it judges the key and the body.
    let nobody = api.with_key(None).post("/v1/agents", &json!({})).await;
    nobody.expect_problem(401, "missing_api_key");
    api.post("/v1/agents", &json!({"name": 7})).await.expect_problem(422, "validation_failed");
    // It signs nothing.
    let keys = operator.get("/v1/cluster/keys").await.expect(200);
    let all = keys["data"].as_array().expect("a list");
    let signers: Vec<_> = all.iter().map(|key| key["node_id"].clone()).collect();
    assert!(!signers.is_empty() && !signers.contains(&json!(4)), "{keys}");

    // A revoke that was answered anywhere is known there.
    for n in 0..20 {
        let through = caller(&written, n % 4, "api_key");
        let (token, id) = through.token(&agent, &["db.read"]).await;
        assert_eq!(api.verdict(&token).await, "valid");
        through.post("/v1/tokens/revoke", &json!({"token_id": id})).await.expect(200);
        assert_eq!(api.verdict(&token).await, "revoked");
    }
    // What that took is counted where the leader is, and what a node holds is shown at each.
    let leads = leader(&operator).await.expect("a leader");
    let leading = caller(&written, leads, "api_key");
    assert!(metric(&leading, "authrai_revoke_wait_seconds_count").await >= Some(20.0));
    assert_eq!(metric(&api, "authrai_may_serve{node=\"4\"}").await, Some(1.0));
    assert!(metric(&api, "authrai_lease_left_seconds{node=\"4\"}").await > Some(0.0));
    let reports = "authrai_peer_messages_total{node=\"4\",kind=\"lease-report\"}";
    assert!(metric(&api, reports).await >= Some(20.0));
    // It goes like any other; its own lease then runs out.
    let (token, _) = api.token(&agent, &["db.read"]).await;
    let other = caller(&written, 0, "operator_key");
    other.delete("/v1/cluster/nodes/4").await.expect(200);
    let left = other.get("/v1/cluster").await.expect(200);
    assert_eq!(left["members"].as_array().map(Vec::len), Some(3));
    until("the node that was removed to answer no more", || async {
        let asked = api.with_key(None).post("/v1/tokens/verify", &json!({"token": token})).await;
        (asked.status == 503).then(|| asked.expect_problem(503, "verification_unavailable"))
    })
    .await;
    assert!(metric(&api, "authrai_verification_unavailable_total").await >= Some(1.0));
    assert_eq!(metric(&api, "authrai_may_serve{node=\"4\"}").await, Some(0.0));
    let refused = "authrai_lease_refusals_total{reason=\"unanswered\"}";
    assert!(metric(&api, refused).await >= Some(1.0));
}

/// How long a client is told to wait.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

/// A client that writes and verifies without pause, and asks another node once where one gives no
/// answer, after as long as it is told to wait. Gives how often it asked, and how often twice.
async fn restless(
    nodes: Vec<Caller>,
    first: usize,
    token: String,
    stop: Arc<AtomicBool>,
) -> (u64, u64) {
    let (mut asked, mut again) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let named = format!("restless-{first}-{asked}");
        let write = json!({"name": "restless", "owner": "o"});
        let verify = json!({"token": token});
        for (path, body, expected) in
            [("/v1/agents", &write, 201), ("/v1/tokens/verify", &verify, 200)]
        {
            let mut tries = Vec::new();
            for node in [&nodes[first], &nodes[(first + 1) % nodes.len()]] {
                let request = node.client.post(format!("{}{path}", node.url)).json(body);
                let request = request.bearer_auth(node.key.as_deref().unwrap_or_default());
                match request.header("Idempotency-Key", &named).send().await {
                    Ok(answer) if answer.status() == expected => break,
                    Ok(answer) => {
                        tokio::time::sleep(retry_after(answer.headers())).await;
                        tries.push(format!("{}: {:?}", node.url, answer.text().await));
                    }
                    Err(error) => tries.push(format!("{}: {error}", node.url)),
                }
                again += 1;
            }
            assert!(tries.len() < 2, "{path} is lost: {tries:?}");
            asked += 1;
        }
    }
    (asked, again)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_request_that_a_client_tries_again_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = Script { dir: dir.path(), ports: Ports::claim() };
    let mut written = script.start();
    let api: Vec<_> = (0..3).map(|node| caller(&written, node, "api_key")).collect();
    let operator = caller(&written, 0, "operator_key");
    let (token, _) = api[0].token(&api[0].agent("restless").await, &["db.read"]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|first| tokio::spawn(restless(api.clone(), first, token.clone(), Arc::clone(&stop))))
        .collect();
    for node in 0..3 {
        // The leader too, whichever it is by then.
        signal(&written, node, "-TERM");
        until("the node to stop", || async {
            let pid = format!("/proc/{}", written["nodes"][node]["pid"]);
            let gone = std::fs::read_to_string(format!("{pid}/stat"));
            gone.map_or(true, |stat| stat.contains(") Z ")).then_some(())
        })
        .await;
        let script = &script;
        written = tokio::task::block_in_place(|| script.start());
    }
    // Every node runs the same program by now.
    let level = operator.post("/v1/cluster/level", &json!({})).await.expect(200);
    assert_eq!(level, json!({"level": 2}));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let (asked, again) = client.await.expect("nothing is lost");
        println!("asked {asked} times, {again} of them twice");
        assert!(asked > 20);
    }
}
