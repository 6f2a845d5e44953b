//! The slow check of everything in the journal that no start looks at.
//!
//! One thread walks all rows, record rows and posting lists, at a bounded rate, again and again.
//! The first damage is reported and stays reported; the walk goes on. Must not mend anything.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::frame::{self, Place};
use super::journal::JournalShared;
use super::stripe::Rows;
use super::{journal_rows, keys, postings};
use crate::error::Fatal;

/// Bytes checked between two pauses.
const STEP_BYTES: u64 = 256 * 1024;

/// What the background check of the journal has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// How often it has walked the whole journal.
    pub passes: u64,
    /// Rows checked since the start.
    pub rows: u64,
    /// The first damage found, in words.
    pub damage: Option<String>,
}

/// How fast and how often.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub bytes_per_second: u64,
    /// From the end of a pass to the start of the next.
    pub between: Duration,
}

#[derive(Default)]
struct Shared {
    state: Mutex<(ScrubReport, bool)>,
    stop: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, (ScrubReport, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, and says whether to go on.
    fn pause(&self, time: Duration) -> bool {
        let state = self.state();
        let waited = self.stop.wait_timeout_while(state, time, |(_, stopped)| !*stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.1
    }
}

/// The running check.
#[derive(Clone)]
pub(crate) struct Scrub(Arc<Shared>);

impl Scrub {
    /// Begins to check `journal`, for as long as someone else keeps it.
    pub(crate) fn spawn(journal: &Arc<JournalShared>, pace: Pace) -> (Scrub, JoinHandle<()>) {
        let shared = Arc::new(Shared::default());
        let (scrub, journal) = (Scrub(shared.clone()), Arc::downgrade(journal));
        (scrub, thread::spawn(move || run(&journal, pace, &shared)))
    }

    pub(crate) fn report(&self) -> ScrubReport {
        self.0.state().0.clone()
    }

    pub(crate) fn stop(&self) {
        self.0.state().1 = true;
        self.0.stop.notify_all();
    }
}

fn run(journal: &Weak<JournalShared>, pace: Pace, shared: &Shared) {
    let rate = pace.bytes_per_second.max(1);
    let mut walk = Walk::default();
    while let Some(journal) = journal.upgrade() {
        // The only error is that the store has been closed.
        let Ok(step) = journal.with_rows(|rows| Ok(walk.step(rows))) else {
            return;
        };
        drop(journal);
        shared.state().0.rows += step.rows;
        if let Some(fatal) = &step.damage {
            report(shared, fatal);
        }
        let mut time = Duration::from_micros(step.bytes.saturating_mul(1_000_000) / rate);
        if step.ended {
            shared.state().0.passes += 1;
            walk = Walk::default();
            time = pace.between;
        }
        if !shared.pause(time) {
            return;
        }
    }
}

fn report(shared: &Shared, fatal: &Fatal) {
    let mut state = shared.state();
    if state.0.damage.is_none() {
        tracing::error!(damage = %fatal, "the journal is damaged");
        state.0.damage = Some(fatal.to_string());
    }
}

/// What one step came to.
#[derive(Default)]
struct Step {
    bytes: u64,
    rows: u64,
    damage: Option<Fatal>,
    ended: bool,
}

/// Where a pass stands.
#[derive(Default)]
struct Walk {
    /// The first key not yet checked.
    key: Vec<u8>,
    /// The chain of the last record row, and the position that comes next.
    next: Option<(Vec<u8>, u64)>,
}

impl Walk {
    /// Checks the rows of one step.
    fn step(&mut self, rows: Rows<'_>) -> Step {
        let mut step = Step::default();
        let (_, end) = keys::journal_rows();
        let from = self.key.clone();
        for row in rows.from(&from, &end) {
            let checked = row.map(|(key, row)| {
                step.rows += 1;
                step.bytes += (key.len() + row.len()) as u64;
                self.key = keys::after(&key);
                self.check(&key, &row)
            });
            match checked {
                Ok(Ok(())) => {}
                Ok(Err(fatal)) => {
                    step.damage.get_or_insert(fatal);
                }
                Err(fatal) => {
                    step.damage.get_or_insert(fatal);
                    self.skip_unreadable(rows);
                    step.ended = self.key.is_empty();
                    return step;
                }
            }
            if step.bytes >= STEP_BYTES {
                return step;
            }
        }
        step.ended = true;
        step
    }

    fn check(&mut self, key: &[u8], row: &[u8]) -> Result<(), Fatal> {
        let Some((chain, first)) = keys::parse_journal_row(key) else {
            return postings::check(key, row);
        };
        let expected = match &self.next {
            Some((last, next)) if last == chain => *next,
            _ => 1,
        };
        let count = frame::count(row).map_err(|e| journal_rows::row_error(chain, first, e).1);
        self.next = Some((chain.to_vec(), first + count.clone().unwrap_or(1)));
        if first != expected {
            return Err(journal_rows::damaged(
                chain,
                expected.min(first),
                "records are missing or out of place",
            ));
        }
        count?;
        let place = Place::new(chain, first);
        frame::records(&place, row)
            .try_for_each(|r| r.map(|_| ()))
            .map_err(|e| journal_rows::row_error(chain, first, e).1)
    }

    /// Goes past the first row from here on, which the store cannot read; if it cannot even say
    /// where that one ends, to the next kind of rows, or to the end.
    fn skip_unreadable(&mut self, rows: Rows<'_>) {
        let (records, end) = keys::journal_rows();
        self.next = None;
        self.key = match rows.first_key(&self.key, &end) {
            Ok(Some(key)) => keys::after(&key),
            Err(_) if self.key < records => records,
            Ok(None) | Err(_) => Vec::new(),
        };
    }
}
