//! The slow check of everything in the journal that no start looks at.
//!
//! One thread walks everything, segments, record rows and posting lists, at a bounded rate, again
//! and again.
//! The first damage is reported and stays reported; the walk goes on. Must not mend anything.

use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::journal::{Archived, JournalShared};
use super::journal_rows::{check_row, damaged};
use super::postings::{block_of, first_of};
use super::segments::Segments;
use super::stripe::Rows;
use super::{frame, keys, postings};
use crate::damage::Block;
use crate::error::Fatal;
use crate::runtime::Worker;

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
    pub(crate) fn spawn(journal: &Arc<JournalShared>, pace: Pace) -> (Scrub, Worker) {
        let shared = Arc::new(Shared::default());
        let (scrub, journal) = (Scrub(shared.clone()), Arc::downgrade(journal));
        #[cfg(test)]
        if crate::sim::runs() {
            // It only reads; it is not simulated.
            return (scrub, Worker::Task(crate::runtime::spawn(async {})));
        }
        (scrub, Worker::thread(move || run(&journal, pace, &shared)))
    }

    pub(crate) fn report(&self) -> ScrubReport {
        self.0.state().0.clone()
    }

    /// What was reported is whole again.
    pub(crate) fn mended(&self) {
        self.0.state().0.damage = None;
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
        let walked =
            journal.with_parts(|rows, segments, archived| Ok(walk.step(rows, segments, archived)));
        let Ok(step) = walked else {
            return;
        };
        if let Some(fatal) = &step.damage {
            journal.damage.found(fatal, step.block.clone());
        }
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
    /// Where it is, if it is in a segment.
    block: Option<Block>,
    ended: bool,
}

/// Where a pass stands: segments come first, then the store.
#[derive(Default)]
struct Walk {
    /// The chain whose segments are being checked, and its next record.
    segment: Option<(Vec<u8>, u64)>,
    /// The first key of the store not yet checked.
    key: Vec<u8>,
    /// The chain of the last record row, and the position that comes next.
    next: Option<(Vec<u8>, u64)>,
}

impl Walk {
    /// Checks the rows of one step.
    fn step(&mut self, rows: Rows<'_>, segments: &Segments, archived: &Archived) -> Step {
        let mut step = Step::default();
        while step.bytes < STEP_BYTES {
            let Some((chain, mut next)) = self.next_archived(archived) else {
                self.step_store(rows, archived, &mut step);
                return step;
            };
            let block = block_of(next);
            if let Err(fatal) = check_segment(segments, &chain, &mut next, &mut step) {
                if step.damage.is_none() {
                    step.block = Some((chain.clone(), block));
                    step.damage = Some(fatal);
                }
                next = first_of(block + 1);
            }
            self.segment = Some((chain, next));
        }
        step
    }

    /// The next record to be checked in a segment.
    fn next_archived(&self, archived: &Archived) -> Option<(Vec<u8>, u64)> {
        let from = match &self.segment {
            None => Bound::Unbounded,
            Some((chain, next)) if archived.get(chain).is_some_and(|n| block_of(*next) < *n) => {
                return self.segment.clone();
            }
            Some((chain, _)) => Bound::Excluded(chain),
        };
        let (chain, _) = archived.range::<Vec<u8>, _>((from, Bound::Unbounded)).next()?;
        Some((chain.clone(), 1))
    }

    fn step_store(&mut self, rows: Rows<'_>, archived: &Archived, step: &mut Step) {
        let (_, end) = keys::journal_rows();
        let from = self.key.clone();
        for row in rows.from(&from, &end) {
            let checked = row.map(|(key, row)| {
                step.rows += 1;
                step.bytes += (key.len() + row.len()) as u64;
                self.key = keys::after(&key);
                self.check(archived, &key, &row)
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
                    return;
                }
            }
            if step.bytes >= STEP_BYTES {
                return;
            }
        }
        step.ended = true;
    }

    fn check(&mut self, archived: &Archived, key: &[u8], row: &[u8]) -> Result<(), Fatal> {
        let Some((chain, first)) = keys::parse_journal_row(key) else {
            return postings::check(key, row);
        };
        // Where the chain began at the last step may have gone into a segment meanwhile.
        let begin = first_of(archived.get(chain).copied().unwrap_or(0));
        let expected = match &self.next {
            Some((last, next)) if last == chain => begin.max(*next),
            _ => begin,
        };
        let checked = check_row(chain, first, expected, row);
        // After damage the row's own word for its length is as good as any.
        let next = checked.clone().or_else(|_| frame::count(row).map(|count| first + count));
        self.next = Some((chain.to_vec(), next.unwrap_or(first + 1)));
        checked.map(|_| ())
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

/// Checks the rows of a segment from the one on that begins with record `next`, and moves `next`,
/// until the segment or the step ends.
fn check_segment(
    segments: &Segments,
    chain: &[u8],
    next: &mut u64,
    step: &mut Step,
) -> Result<(), Fatal> {
    let end = first_of(block_of(*next) + 1);
    for row in segments.read(chain, block_of(*next))?.rows(*next) {
        let (first, row) = row?;
        step.rows += 1;
        step.bytes += row.len() as u64;
        *next = check_row(chain, first, *next, &row)?;
        if step.bytes >= STEP_BYTES {
            return Ok(());
        }
    }
    if *next == end { Ok(()) } else { Err(damaged(chain, *next, "it is missing")) }
}
