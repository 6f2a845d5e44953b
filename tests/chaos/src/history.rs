//! What clients did and were told, as it is kept: one event a line, JSON.
//!
//! Times are nanoseconds on one monotonic clock of the harness: `from` was read before the request
//! was sent, `to` after its answer had come. Must not know what a history has to satisfy.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    sync::mpsc,
    thread::JoinHandle,
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// When a request was sent and when its answer had come, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acknowledged.
    Done,
    /// Refused with the word that nothing was done, or never sent.
    Refused,
    /// It may have happened, or happen yet.
    Unknown,
}

/// What can be verified. Credentials, agents and signing keys are numbered in the order in which
/// the harness met them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    Token { agent: u32, signed_by: u32 },
    ApiKey,
}

/// What a revoke kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Credential(u32),
    /// The tokens that the agent has by then.
    AgentTokens(u32),
    Agent(u32),
    SigningKey(u32),
}

/// What a verification said, one letter in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Valid,
    /// `revoked`, `agent_revoked`, or a 401 to a key.
    Dead,
    /// A 503: the node would not say.
    Refused,
    /// No answer: no connection, or none in time.
    Nothing,
    /// Any other verdict.
    Wrong,
}

impl Said {
    pub const fn letter(self) -> char {
        match self {
            Self::Valid => 'v',
            Self::Dead => 'd',
            Self::Refused => '-',
            Self::Nothing => '.',
            Self::Wrong => '!',
        }
    }

    pub const fn from_letter(letter: u8) -> Self {
        match letter {
            b'v' => Self::Valid,
            b'd' => Self::Dead,
            b'-' => Self::Refused,
            b'.' => Self::Nothing,
            _ => Self::Wrong,
        }
    }
}

/// An agent as a node shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    Active,
    Revoked,
    Missing,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// How the run began, and the command that does it again.
    Begun {
        seed: u64,
        lease_ms: u64,
        again: String,
    },
    /// A credential was asked for. `credential` has its number and is there when it was shown.
    Issued {
        node: u64,
        span: Span,
        outcome: Outcome,
        credential: Option<(u32, Credential)>,
    },
    /// An agent was created; `agent` is there when that was acknowledged.
    AgentMade {
        node: u64,
        span: Span,
        outcome: Outcome,
        agent: Option<u32>,
    },
    Revoked {
        node: u64,
        span: Span,
        outcome: Outcome,
        target: Target,
    },
    /// `said` has one letter for each of `credentials`.
    Verified {
        node: u64,
        span: Span,
        credentials: Vec<u32>,
        said: String,
    },
    /// A fault was injected; `detail` is for people.
    Fault {
        at: u64,
        kind: String,
        detail: String,
    },
    /// The fault is over and every node is ready.
    Healed {
        at: u64,
    },
    /// The cluster did not get well in time after a fault.
    Unwell {
        at: u64,
        why: String,
    },
    /// An answer that says what no answer may say.
    Unclassifiable {
        at: u64,
        node: u64,
        answer: String,
    },
    /// All faults are over; what follows are the last looks at each of `nodes`.
    Final {
        at: u64,
        nodes: Vec<u64>,
    },
    AgentSeen {
        node: u64,
        agent: u32,
        shown: Shown,
    },
    /// What a node says of an audit chain.
    Chain {
        node: u64,
        chain: String,
        ok: bool,
        length: u64,
        head: String,
    },
    /// Whether `authrai audit verify` accepted the exported chain, and which acknowledged writes
    /// have no event in it.
    Export {
        chain: String,
        accepted: bool,
        missing: Vec<String>,
    },
}

/// Where events go; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    events: mpsc::Sender<Event>,
}

impl Recorder {
    /// Writes to `path` from a thread of its own, which ends when the last clone is gone.
    pub fn create(path: &Path) -> io::Result<(Self, JoinHandle<io::Result<()>>)> {
        let mut file = BufWriter::new(File::create(path)?);
        let (events, incoming) = mpsc::channel::<Event>();
        let written = std::thread::spawn(move || {
            for event in incoming {
                serde_json::to_writer(&mut file, &event)?;
                file.write_all(b"\n")?;
            }
            file.flush()
        });
        Ok((Self { start: Instant::now(), events }, written))
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The span that began at `from` and ends now.
    pub fn since(&self, from: u64) -> Span {
        Span { from, to: self.now() }
    }

    pub fn record(&self, event: Event) {
        // The writer ends early only when the disk fails, which joining it reports.
        let _ = self.events.send(event);
    }
}

/// Reads a history back.
pub fn read(path: &Path) -> io::Result<Vec<Event>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_back_as_it_was_recorded() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("history.jsonl");
        let (recorder, written) = Recorder::create(&path).expect("created");
        let span = recorder.since(recorder.now());
        let token = Credential::Token { agent: 1, signed_by: 0 };
        let events = [
            Event::Issued { node: 1, span, outcome: Outcome::Done, credential: Some((0, token)) },
            Event::Revoked { node: 2, span, outcome: Outcome::Unknown, target: Target::Agent(3) },
            Event::Verified { node: 3, span, credentials: vec![0, 1], said: "v-".into() },
        ];
        events.iter().for_each(|event| recorder.record(event.clone()));
        drop(recorder);
        written.join().expect("no panic").expect("written");
        assert_eq!(read(&path).expect("read"), events);
    }

    #[test]
    fn letters_come_back() {
        for said in [Said::Valid, Said::Dead, Said::Refused, Said::Nothing, Said::Wrong] {
            assert_eq!(Said::from_letter(said.letter() as u8), said);
        }
    }
}
