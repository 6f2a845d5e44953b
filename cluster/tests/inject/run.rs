//! Running one scenario in a process of its own, with one call going wrong.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::scenario::Scenario;

/// How long a child may take: far longer than any does.
const CHILD_MAX: Duration = Duration::from_secs(60);

/// How a call goes wrong: see `inject.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Kill,
    Torn,
    After,
    Eio,
    Short,
    Full,
}

pub const HOWS: [How; 6] = [How::Kill, How::Torn, How::After, How::Eio, How::Short, How::Full];

/// What came of a run.
pub struct Tried {
    /// The ids of the writes that were acknowledged.
    pub acknowledged: Vec<u64>,
    /// Calls that were counted.
    pub calls: u64,
    /// Whether the scenario went through.
    pub ended_well: bool,
    /// What the child wrote to its standard error.
    pub said: String,
}

/// The library, which is built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject/inject.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("inject-{}.so", std::process::id()));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(built.expect("cc runs").success(), "the library is built");
        library
    })
}

/// Runs `scenario` in `dir`.
pub async fn run(scenario: Scenario, dir: &Path, fault: Option<(How, u64)>) -> Tried {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || blocking(scenario, &dir, fault)).await.expect("ends")
}

fn blocking(scenario: Scenario, dir: &Path, fault: Option<(How, u64)>) -> Tried {
    let count = tempfile::NamedTempFile::new().expect("a file");
    count.as_file().set_len(8).expect("grows");
    let (how, at) = fault.unwrap_or((How::Kill, 0));
    let mut child = Command::new(std::env::current_exe().expect("known"))
        .args(["--exact", "child_under_a_fault", "--nocapture"])
        .env("INJECT_SCENARIO", format!("{scenario:?}"))
        .env("INJECT_DIR", dir)
        .env("INJECT_COUNT", count.path())
        .env("INJECT_AT", at.to_string())
        .env("INJECT_HOW", format!("{how:?}").to_lowercase())
        .env("LD_PRELOAD", library())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut errors = child.stderr.take().expect("piped");
    let errors = std::thread::spawn(move || {
        let mut said = Vec::new();
        errors.read_to_end(&mut said).expect("reads");
        String::from_utf8_lossy(&said).into_owned()
    });
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let lines = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let end = Instant::now() + CHILD_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status;
        }
        if Instant::now() > end {
            child.kill().expect("kills");
            child.wait().expect("ends");
            let said = errors.join().expect("ends");
            panic!("{scenario:?}, {fault:?}: the node neither serves nor ends\n{said}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let acknowledged = lines.join().expect("ends").into_iter();
    let acknowledged = acknowledged
        .filter_map(|line| line.strip_prefix("acknowledged ")?.strip_suffix(" .")?.parse().ok());
    let calls = std::fs::read(count.path()).expect("reads");
    Tried {
        acknowledged: acknowledged.collect(),
        calls: calls.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
        ended_well: status.success(),
        said: errors.join().expect("ends"),
    }
}
