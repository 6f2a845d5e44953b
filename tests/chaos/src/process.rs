//! The nodes as processes: set up, started, signalled, ended, each with its own directory, clock
//! rate and disk. Must not know why.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::time::{Instant, sleep};

use crate::network::Network;

/// How long a process may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Size of a disk of a node's own.
const DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Entries between two snapshots: few, so that snapshots and what they leave of the log are part of
/// every run.
const SNAPSHOT_EVERY: u64 = 500;
/// What a full disk still takes.
const SPARE_BYTES: u64 = 64 * 1024;

/// What all nodes of a run have in common.
pub struct Site {
    pub binary: PathBuf,
    pub folder: PathBuf,
    pub network: Network,
    /// Whether each node gets a disk (tmpfs) of its own, which can be filled.
    pub own_disks: bool,
}

impl Site {
    /// Certificates for nodes 1 to `nodes`.
    pub fn certificates(&self, nodes: u64) -> io::Result<()> {
        let out = self.folder.join("certs");
        let nodes = nodes.to_string();
        self.run(&[
            "cluster".into(),
            "certs".into(),
            "--out".into(),
            out.into(),
            "--nodes".into(),
            nodes.into(),
        ])?;
        Ok(())
    }

    /// Runs the program to its end, and gives what it printed.
    pub fn run(&self, arguments: &[OsString]) -> io::Result<String> {
        let output = Command::new(&self.binary).args(arguments).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{arguments:?}: {}: {said}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// One node.
pub struct Process {
    pub id: u64,
    folder: PathBuf,
    own_disk: bool,
    child: Option<Child>,
    /// Whether it has a vote; one without only follows and verifies.
    pub voter: bool,
    /// By how much its lease clock runs fast, parts per million.
    pub clock_ppm: i64,
}

impl Process {
    /// Sets node `id` up, without starting it.
    pub fn set_up(site: &Site, id: u64, voter: bool) -> io::Result<Self> {
        let folder = site.folder.join(format!("node-{id}"));
        fs::create_dir_all(&folder)?;
        let own_disk = site.own_disks;
        if own_disk {
            let size = format!("size={DISK_BYTES}");
            let to = folder.as_os_str();
            shell(
                "mount",
                &[
                    "-t".as_ref(),
                    "tmpfs".as_ref(),
                    "-o".as_ref(),
                    size.as_ref(),
                    "authrai-chaos".as_ref(),
                    to,
                ],
            )?;
        }
        let (network, certs) = (&site.network, site.folder.join("certs"));
        let config = format!(
            "listen = \"{api}\"\n\
             data_dir = \"{data}\"\n\
             node_id = {id}\n\
             [tokens]\nissuer = \"http://chaos.test\"\n\
             [plans]\ndefault = \"unlimited\"\n\
             [storage]\nsnapshot_every_entries = {SNAPSHOT_EVERY}\n\
             [peers]\n\
             listen = \"{peer}\"\n\
             advertise = \"{proxy}\"\n\
             connect_from = \"{ip}\"\n\
             {vote}\
             ca_file = \"{certs}/ca.pem\"\n\
             certificate_file = \"{certs}/node-{id}.pem\"\n\
             key_file = \"{certs}/node-{id}.key\"\n\
             [metrics]\nlisten = \"{api}\"\n",
            api = network.api(id),
            data = folder.join("data").display(),
            peer = network.peer(id),
            proxy = network.proxy(id),
            ip = network.ip(id),
            certs = certs.display(),
            vote = if voter { "" } else { "voter = false\n" },
        );
        fs::write(site.folder.join(format!("node-{id}.toml")), config)?;
        Ok(Self { id, folder, own_disk, child: None, voter, clock_ppm: 0 })
    }

    fn config(site: &Site, id: u64) -> PathBuf {
        site.folder.join(format!("node-{id}.toml"))
    }

    /// Founds the cluster, and gives the operator key.
    pub fn found(&self, site: &Site) -> io::Result<String> {
        let config = Self::config(site, self.id).into();
        let said = site.run(&["cluster".into(), "init".into(), "--config".into(), config])?;
        let key = said.split_whitespace().find(|word| word.starts_with("rai_op_"));
        key.map(str::to_owned).ok_or_else(|| io::Error::other("init printed no operator key"))
    }

    /// Starts it, as one that asks `seed` to be let in if there is one.
    pub fn start(&mut self, site: &Site, seed: Option<u64>) -> io::Result<()> {
        let mut command = self.program(site);
        match seed {
            None => command.arg("serve"),
            Some(seed) => {
                command.args(["cluster", "join", &format!("{seed}@{}", site.network.proxy(seed))])
            }
        };
        let log = self.log(site)?;
        command.arg("--config").arg(Self::config(site, self.id)).stdin(Stdio::null());
        command.env("AUTHRAI_TEST_CLOCK_PPM", self.clock_ppm.to_string());
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// The program without arguments. Where a full disk is a limit on the size of files, writing past
    /// it is an error and not a signal that kills.
    fn program(&self, site: &Site) -> Command {
        if self.own_disk {
            return Command::new(&site.binary);
        }
        let mut bash = Command::new("bash");
        bash.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(&site.binary);
        bash
    }

    fn log(&self, site: &Site) -> io::Result<File> {
        let path = site.folder.join(format!("node-{}.log", self.id));
        let mut log = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(log, "--- start, clock {} ppm", self.clock_ppm)?;
        Ok(log)
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.child {
            Some(child) => Ok(kill_process(Pid::from_child(child), signal)?),
            None => Ok(()),
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait(),
            None => Ok(None),
        }
    }

    pub fn runs(&mut self) -> bool {
        self.child.is_some() && matches!(self.ended(), Ok(None))
    }

    /// SIGTERM, and waits until it has ended; an error if it does not end well.
    pub async fn stop(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                self.child = None;
                return match status.success() {
                    true => Ok(()),
                    false => Err(io::Error::other(format!("SIGTERM ended it with {status}"))),
                };
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.kill()?;
        Err(io::Error::other("SIGTERM did not end it within a minute"))
    }

    /// Leaves no room on its disk: its own one shrinks to what is used, or, where it has none of
    /// its own, no file of the process can grow any further.
    pub fn fill_disk(&self) -> io::Result<()> {
        if self.own_disk {
            let used = used_bytes(&self.folder)? + SPARE_BYTES;
            return self.resize_disk(used);
        }
        self.limit_files(Some(1))
    }

    /// Makes room again.
    pub fn empty_disk(&self) -> io::Result<()> {
        if self.own_disk { self.resize_disk(DISK_BYTES) } else { self.limit_files(None) }
    }

    fn resize_disk(&self, bytes: u64) -> io::Result<()> {
        let size = format!("remount,size={bytes}");
        shell("mount", &["-o".as_ref(), size.as_ref(), self.folder.as_os_str()])
    }

    fn limit_files(&self, bytes: Option<u64>) -> io::Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let limit = Rlimit { current: bytes, maximum: None };
        match prlimit(Some(Pid::from_child(child)), Resource::Fsize, limit) {
            // A process that has ended takes its limit with it.
            Ok(_) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends it and its disk for good.
    pub fn wipe(&mut self) -> io::Result<()> {
        self.kill()?;
        if self.own_disk {
            shell("umount", &[self.folder.as_os_str()])?;
        }
        fs::remove_dir_all(&self.folder)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        if self.own_disk {
            let _ = shell("umount", &[self.folder.as_os_str()]);
        }
    }
}

fn shell(program: &str, arguments: &[&std::ffi::OsStr]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("{program} {arguments:?}: {said}")))
        }
    }
}

/// What the file system at `path` holds.
fn used_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
}
