//! `authrai` as a user runs it: a process with its output in files, so that a test can read what
//! it printed and how it ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::harness::{PATIENCE, client, free_address, until};

/// `authrai`, without any configuration that the tests' own environment may have.
pub fn authrai(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authrai"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AUTHRAI_") {
            command.env_remove(name);
        }
    }
    command
}

/// A node in a process of its own.
pub struct Node {
    child: Child,
    address: String,
    output: TempDir,
}

impl Node {
    /// `authrai dev` on a free port.
    pub fn dev(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = authrai(&["dev"]);
        command.arg("--data-dir").arg(data_dir).args(more);
        Self::spawn(command)
    }

    /// `command`, which starts a node, on a free port.
    pub fn spawn(mut command: Command) -> Self {
        let address = free_address().to_string();
        command.args(["--listen", &address]);
        Self::spawn_as_configured(command, &address)
    }

    /// `command`, which starts a node that is configured to listen on `address`.
    pub fn spawn_as_configured(mut command: Command, address: &str) -> Self {
        let address = address.to_owned();
        let output = tempfile::tempdir().expect("a folder");
        let file = |name: &str| File::create(output.path().join(name)).expect("a file");
        let child = command.stdout(file("out")).stderr(file("err")).spawn().expect("the binary");
        Self { child, address, output }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has written to standard output.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.file("out")).expect("output")
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("err")).expect("a log")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.output.path().join(name)
    }

    /// The first word that it printed that starts like this.
    #[track_caller]
    pub fn shown_key(&self, prefix: &str) -> String {
        let printed = self.printed();
        let at = printed.find(prefix).unwrap_or_else(|| panic!("no {prefix} in {printed}"));
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        printed[at..].chars().take_while(|c| word(*c)).collect()
    }

    /// Waits until it may serve; fails when it ends instead.
    pub async fn ready(&mut self) {
        let url = format!("{}/readyz", self.url());
        let client = client();
        let ended = until("readiness", || {
            let ended = self.child.try_wait().expect("a child");
            let request = client.get(&url).send();
            async move {
                match ended {
                    Some(status) => Some(Some(status)),
                    None => request.await.ok()?.status().is_success().then_some(None),
                }
            }
        })
        .await;
        if let Some(status) = ended {
            panic!("the node ended with {status}: {}", self.log());
        }
    }

    /// Resident memory of the process.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a running child");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// SIGTERM, which must end it with success.
    pub fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it lives");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
