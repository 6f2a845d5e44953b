//! Real nodes for tests: in this process on a free port, or as a child process that can be killed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use authrai::{
    config::{Config, Flag, PlanName, Profile, Sources},
    server::{Founding, Server, operator_plans, plans},
    setup::{self, DevWishes},
};
use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `ready` gives a value.
pub async fn until<T, F>(what: &str, mut ready: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An HTTP client as a service would have it.
pub fn client() -> Client {
    authrai::server::install_crypto_provider();
    Client::builder().timeout(PATIENCE).build().expect("a client")
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.text))
    }

    /// The body, of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// The body of a problem, which must have this status and code.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        let kind = self.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"), "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["code"], code, "{body}");
        body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Calls of one key against one node.
#[derive(Clone)]
pub struct Caller {
    pub client: Client,
    pub url: String,
    pub key: Option<String>,
}

impl Caller {
    /// Any request; `path` begins with a slash and stands at the root.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.send_with(method, path, body, &[]).await
    }

    /// The same, with these headers.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// The same node, with another key or none.
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// Registers an agent and gives its id.
    pub async fn agent(&self, name: &str) -> String {
        let body = json!({"name": name, "owner": "engineering"});
        text(&self.post("/v1/agents", &body).await.expect(201), "id")
    }

    /// Issues a token to `agent` and gives (token, token id).
    pub async fn token(&self, agent: &str, scope: &[&str]) -> (String, String) {
        let body = json!({"agent_id": agent, "scope": scope});
        let answer = self.post("/v1/tokens", &body).await.expect(201);
        (text(&answer, "token"), text(&answer, "token_id"))
    }

    /// What verification says of `token`: `valid`, or the reason why not.
    pub async fn verdict(&self, token: &str) -> String {
        let body = json!({"token": token});
        let answer = self.with_key(None).post("/v1/tokens/verify", &body).await.expect(200);
        match answer["valid"].as_bool() {
            Some(true) => "valid".to_owned(),
            _ => text(&answer, "reason"),
        }
    }
}

/// The text in this field.
#[track_caller]
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text {field} in {value}")).to_owned()
}

/// A node in this process.
pub struct TestNode {
    server: Server,
    /// With the development organisation's key.
    pub api: Caller,
    /// With the operator key.
    pub operator: Caller,
    folder: TempDir,
}

impl TestNode {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A fresh node with these configuration keys set.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, config) = open(folder.path(), settings).await;
        let wishes = DevWishes {
            api_key: None,
            plans: &plans(&config.plans.offered),
            operator_plans: &operator_plans(&config.plans.offered),
            plan: config.dev.plan.as_ref().map(PlanName::as_str),
            default_plan: config.plans.default.as_str(),
        };
        let keys = setup::development(&server.app().proposals, &server.app().views, wishes)
            .await
            .expect("set up");
        let api_key = keys.api_key.expect("fresh").expose().to_owned();
        let operator_key = keys.operator_key.expect("fresh").expose().to_owned();
        Self::serve(server, folder, api_key, operator_key).await
    }

    async fn serve(
        mut server: Server,
        folder: TempDir,
        api_key: String,
        operator_key: String,
    ) -> Self {
        server.serve();
        let url = format!("http://{}", server.address());
        let api = Caller { client: client(), url, key: Some(api_key) };
        let operator = api.with_key(Some(&operator_key));
        until("readiness", || async {
            (api.get("/readyz").await.status == StatusCode::OK).then_some(())
        })
        .await;
        Self { server, api, operator, folder }
    }

    /// Stops the node and starts it again on the same data.
    pub async fn restart(self) -> Self {
        self.restart_with(&[]).await
    }

    /// The same, with these configuration keys set.
    pub async fn restart_with(self, settings: &[(&str, &str)]) -> Self {
        let Self { server, api, operator, folder } = self;
        // Stopping and starting are large futures, which every test would hold.
        Box::pin(server.stop()).await.expect("stopped");
        let (server, _) = open(folder.path(), settings).await;
        let (api_key, operator_key) = (api.key.expect("a key"), operator.key.expect("a key"));
        Self::serve(server, folder, api_key, operator_key).await
    }

    pub async fn stop(self) {
        self.server.stop().await.expect("stopped");
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another organisation with a key of its own.
    pub async fn tenant(&self, name: &str, environment: &str) -> (String, Caller) {
        let made = self.operator.post("/v1/organizations", &json!({"name": name})).await;
        let organization = text(&made.expect(201), "id");
        let path = format!("/v1/organizations/{organization}/api-keys");
        let body = json!({"name": "first", "environment": environment});
        let key = text(&self.operator.post(&path, &body).await.expect(201), "key");
        (organization, self.api.with_key(Some(&key)))
    }

    /// A key of the development organisation with these rights.
    pub async fn key(&self, environment: &str, permissions: &[&str]) -> Caller {
        let body =
            json!({"name": "limited", "environment": environment, "permissions": permissions});
        let key = text(&self.api.post("/v1/api-keys", &body).await.expect(201), "key");
        self.api.with_key(Some(&key))
    }
}

async fn open(folder: &Path, settings: &[(&str, &str)]) -> (Server, Config) {
    let data_dir = folder.join("data").display().to_string();
    let mut keys = BTreeMap::from([("listen", "127.0.0.1:0"), ("data_dir", &data_dir)]);
    keys.extend(settings.iter().copied());
    let flags = keys
        .into_iter()
        .map(|(key, value)| Flag { flag: key.into(), key: key.into(), value: value.into() })
        .collect();
    let sources = Sources { profile: Profile::Dev, file: None, env: Vec::new(), flags };
    let config = sources.resolve().expect("a configuration").config;
    (Box::pin(Server::start(&config, Founding::Allowed)).await.expect("a node"), config)
}

/// `authrai dev` as a process of its own.
pub struct DevProcess {
    child: Child,
    data_dir: PathBuf,
    api_key: String,
    address: SocketAddr,
}

impl DevProcess {
    /// Starts a node with a fixed key on a port that was free a moment ago.
    pub fn start(data_dir: &Path, api_key: &str) -> Self {
        let address = free_address();
        let child = spawn(data_dir, api_key, address);
        Self { child, data_dir: data_dir.into(), api_key: api_key.into(), address }
    }

    pub fn caller(&self) -> Caller {
        Caller {
            client: client(),
            url: format!("http://{}", self.address),
            key: Some(self.api_key.clone()),
        }
    }

    /// Waits until the node is ready; fails when it exits instead.
    pub async fn ready(&mut self) {
        let caller = self.caller();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the node ended with {status} instead of getting ready");
            }
            let request = caller.client.get(format!("{}/readyz", caller.url)).send().await;
            if request.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for readiness");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Resident memory of the process.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let line = status.expect("a running child");
        let line = line.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS").to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// SIGKILL, as a crash or a power cut of the process.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// The same data and address again.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.data_dir, &self.api_key, self.address);
    }
}

impl Drop for DevProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(data_dir: &Path, api_key: &str, address: SocketAddr) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_authrai"))
        .args(["dev", "--listen", &address.to_string(), "--api-key", api_key, "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("ERROR") || line.contains("panicked") {
                eprintln!("node: {line}");
            }
        }
    });
    child
}

/// An address on loopback that nobody listens on at the moment.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}
