//! `authrai backup create`: a running node's stream, into a file that is whole or not there.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use authrai_cluster::backup::{Origin, check_frames};
use clap::Args;
use reqwest::Method;
use tempfile::NamedTempFile;

use crate::cli::operator::{AskedNode, Target};
use crate::cli::{Exit, Failure, print};
use crate::rfc3339;

/// Longest pause in the stream: the node waits for its disk, or for the leader.
const PAUSE_MAX: Duration = Duration::from_secs(90);
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// `authrai backup create`
#[derive(Debug, Args)]
pub struct Create {
    /// Where to write it
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

/// Writes the backup under another name, checks its frames, and only then gives it its name.
///
/// # Errors
/// If there is none, or it cannot be written.
pub async fn run(create: Create) -> Result<(), Failure> {
    let Create { file, force, target } = create;
    if !force && file.exists() {
        return Err(there_already(&file));
    }
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let cannot = |error: io::Error| cannot_write(&file, &error);
    // Readable by its owner alone, and gone again if anything fails.
    let mut draft = NamedTempFile::new_in(folder).map_err(cannot)?;
    let bytes = receive(&AskedNode::of(target)?, draft.as_file_mut(), &file).await?;
    draft.as_file().sync_all().map_err(cannot)?;
    let (origin, sha256) = checked(draft.as_file_mut(), &file)?;
    let named = if force { draft.persist(&file) } else { draft.persist_noclobber(&file) };
    named.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => there_already(&file),
        _ => cannot(error.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)?;
    print(&report(&file, &origin, bytes, &sha256))
}

async fn receive(asked: &AskedNode, out: &mut File, file: &Path) -> Result<u64, Failure> {
    let client = reqwest::Client::builder().read_timeout(PAUSE_MAX).build();
    let client = client.map_err(|error| asked.silent("/v1/cluster/backup", &error))?;
    let mut answer = asked.send(&client, Method::GET, "/v1/cluster/backup", None).await?;
    let mut progress = Progress::new();
    loop {
        let piece = answer.chunk().await.map_err(|error| {
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            Failure::new(
                Exit::Unavailable,
                format!("the backup was broken off: {why}. Nothing was written; ask again"),
            )
        })?;
        let Some(piece) = piece else { break };
        out.write_all(&piece).map_err(|error| cannot_write(file, &error))?;
        progress.add(piece.len());
    }
    Ok(progress.end())
}

/// Reads the file back: what was received may have been cut off unnoticed on the way.
fn checked(draft: &mut File, file: &Path) -> Result<(Origin, [u8; 32]), Failure> {
    draft.rewind().map_err(|error| cannot_write(file, &error))?;
    check_frames(BufReader::with_capacity(READ_AHEAD_BYTES, draft)).map_err(|error| {
        Failure::new(
            Exit::Data,
            format!(
                "what was received is no whole backup: {error}. Nothing was written; ask again"
            ),
        )
    })
}

fn report(file: &Path, origin: &Origin, bytes: u64, sha256: &[u8; 32]) -> String {
    format!(
        "\
{file}: a backup of cluster {cluster}

  log index  {index}
  made       {at}
  bytes      {bytes}
  sha256     {sha256}

Its secrets are sealed under the cluster's key file (secrets.key_file), which is not in it: keep a \
copy of that elsewhere. Check what is in the backup with

  authrai backup verify {file}
",
        file = file.display(),
        cluster = origin.cluster_hex(),
        index = origin.index,
        at = rfc3339::seconds(origin.at_ms / 1000),
        sha256 = hex::encode(sha256),
    )
}

fn there_already(file: &Path) -> Failure {
    Failure::new(
        Exit::CannotCreate,
        format!("{} is there already; choose another name, or add --force", file.display()),
    )
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::StorageFull => Exit::Io,
        _ => Exit::CannotCreate,
    };
    Failure::new(exit, format!("cannot write {}: {error}", file.display()))
}

/// How much has come, told to whoever watches.
struct Progress {
    bytes: u64,
    told: Instant,
    watched: bool,
}

impl Progress {
    fn new() -> Self {
        Self { bytes: 0, told: Instant::now(), watched: io::stderr().is_terminal() }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.watched && self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            eprint!("\r{} MiB", self.bytes >> 20);
        }
    }

    fn end(self) -> u64 {
        if self.watched {
            eprint!("\r\x1b[K");
        }
        self.bytes
    }
}
