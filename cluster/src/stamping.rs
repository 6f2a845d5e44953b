//! Whether this node may put its wall clock on commands, and what time it then is.
//!
//! A stamp that is far ahead would expire everything for good, for time in the log never runs
//! backwards. So a jump that the machine's other clocks do not explain is not believed until the
//! other voters' clocks agree with it or an operator does; and a leader stamps nothing before it
//! knows that most voters' clocks agree with its own.
//!
//! From such a clock a leader also tells the cluster's time ([`crate::cluster_time`]). What a restart
//! must not forget of both is a [`ClockRecord`]. Must not know what a stamp is for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster_time::ClusterTime;
use crate::lease::{LeaseClock, Moment, Reading, SystemClock, WALL_SKEW_MAX_MS};
use crate::store::clock_record::{BootId, ClockRecord};
use crate::wall_clock;

/// Where the wall clock is read: milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// A clock of one's own, for tests.
    pub fn new(read_ms: impl Fn() -> u64 + Send + Sync + 'static) -> WallClock {
        WallClock(Arc::new(read_ms))
    }

    fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl Default for WallClock {
    fn default() -> WallClock {
        WallClock::new(wall_clock::now_ms)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

impl PartialEq for WallClock {
    fn eq(&self, other: &WallClock) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for WallClock {}

/// What is wrong with this node's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockFault {
    /// It jumped, and nobody has said yet that it is right now.
    #[error("the wall clock jumped by {by_ms} ms, which the machine's other clocks do not explain")]
    Jumped {
        /// How far; negative if backwards.
        by_ms: i64,
    },
    /// It is behind what the log says it was, and nobody has said yet that it is right.
    #[error("the wall clock is {by_ms} ms behind the newest entry of the log")]
    Behind {
        /// How far.
        by_ms: u64,
    },
    /// It is too far from the other voters', or they have not been heard yet.
    #[error("the wall clock does not agree with those of the other voters")]
    Astray,
}

/// The wall clock of one node, and what is known against it.
pub(crate) struct Stamping {
    clock: WallClock,
    boot_id: BootId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it was looked at last, and what it said.
    last: Option<(Reading, u64)>,
    jumped_ms: Option<i64>,
    /// Whether the machine may have been off before this process, nobody knows for how long.
    was_off: bool,
    /// Whether most voters agree, as far as this node leads.
    agreed: bool,
    /// The newest stamp in the log at which somebody agreed with the clock, though it is behind.
    behind_until_ms: u64,
    leads: bool,
    time: ClusterTime,
}

impl State {
    fn look(&mut self, now: Reading, wall_ms: u64) {
        let then = self.last.replace((now, wall_ms));
        if let Some((then, before_ms)) = then {
            self.jumped_by(jump_ms(now, then, wall_ms, before_ms));
        }
        if self.leads {
            let elapsed_ns = then.map_or(0, |(then, _)| now.shortest_since(then));
            let trusted = self.agreed && self.jumped_ms.is_none();
            self.time.advance(elapsed_ns, trusted.then_some(wall_ms));
        }
    }

    fn jumped_by(&mut self, by_ms: i64) {
        if by_ms == 0 {
            return;
        }
        let all_ms = self.jumped_ms.unwrap_or(0).saturating_add(by_ms);
        // One that jumps back is where it was; and where it may be, if the machine began with a clock
        // that was behind and is set now.
        let set = all_ms > 0 && self.was_off && self.jumped_ms.is_some_and(|ms| ms < 0);
        let back = set || all_ms.unsigned_abs() <= WALL_SKEW_MAX_MS;
        self.jumped_ms = (!back).then_some(all_ms);
        tracing::error!(by_ms, back, "the wall clock has jumped");
    }
}

/// How far the wall clock moved beyond what the others explain; 0 within the allowed skew. A clock
/// that is slewed is followed, for it is looked at often.
fn jump_ms(now: Reading, then: Reading, wall_ms: u64, before_ms: u64) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let moved = signed(wall_ms).saturating_sub(signed(before_ms));
    let longest = signed(now.longest_since(then) / 1_000_000);
    let shortest = signed(now.shortest_since(then) / 1_000_000);
    let over = moved.saturating_sub(longest).max(0);
    let under = moved.saturating_sub(shortest).min(0);
    let by_ms = over.saturating_add(under);
    if by_ms.unsigned_abs() > WALL_SKEW_MAX_MS { by_ms } else { 0 }
}

impl Stamping {
    /// A clock that stands where it stands; what is known of earlier times is in `record`.
    pub(crate) fn new(clock: WallClock, boot_id: BootId, record: Option<&ClockRecord>) -> Stamping {
        let mut state = State::default();
        if let Some(record) = record {
            let (now, wall_ms) = (SystemClock.read(), clock.now_ms());
            let since = record.since(boot_id, now);
            state.was_off = since.was_off();
            state.jumped_by(since.jump_ms(wall_ms));
            state.time.at_least(since.time_ms());
        }
        Stamping { clock, boot_id, state: Mutex::new(state) }
    }

    fn look(&self) -> (MutexGuard<'_, State>, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wall_ms = self.clock.now_ms();
        state.look(SystemClock.read(), wall_ms);
        (state, wall_ms)
    }

    /// The wall clock, whatever it is worth.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.look().1
    }

    /// The wall clock, if it may be put on a command after one of `newest_ms`.
    pub(crate) fn stamp(&self, newest_ms: u64) -> Result<u64, ClockFault> {
        let (state, wall_ms) = self.look();
        match fault(&state, wall_ms, newest_ms) {
            Some(fault) => Err(fault),
            None => Ok(wall_ms),
        }
    }

    /// By how much it jumped, if nobody has agreed with that yet.
    pub(crate) fn jumped_ms(&self) -> Option<i64> {
        self.look().0.jumped_ms
    }

    /// The cluster's time, for a leader to tell.
    pub(crate) fn time_ms(&self) -> u64 {
        self.look().0.time.ms()
    }

    /// Whether this node leads from now on, after it saw the cluster's time at `seen`: it was no later
    /// than that then, and never goes back.
    pub(crate) fn leads(&self, leads: bool, seen: Moment) {
        let (mut state, _) = self.look();
        if leads && !state.leads {
            state.time.at_least(seen.at_most_ms);
        }
        state.leads = leads;
    }

    /// What a restart must not forget, once the cluster's time has been seen at `seen`.
    pub(crate) fn record(&self, seen: Moment) -> ClockRecord {
        let (mut state, wall_ms) = self.look();
        state.time.at_least(seen.surely_ms);
        let believed_ms =
            wall_ms.saturating_add_signed(state.jumped_ms.unwrap_or(0).saturating_neg());
        let boottime_ms = state.last.map_or(0, |(now, _)| now.boottime_ns / 1_000_000);
        ClockRecord { boot_id: self.boot_id, boottime_ms, believed_ms, time_ms: state.time.ms() }
    }

    /// What is wrong with the clock, if this node leads or would lead now.
    pub(crate) fn fault(&self, newest_ms: u64) -> Option<ClockFault> {
        self.stamp(newest_ms).err()
    }

    /// What is wrong with the clock of a node that follows a leader, by the cluster's time `seen`. That
    /// may itself be ahead of the leader's clock, but never behind it.
    pub(crate) fn fault_beside(&self, seen: Moment) -> Option<ClockFault> {
        let wall_ms = self.wall_ms();
        let ahead = wall_ms.saturating_sub(seen.at_most_ms) > WALL_SKEW_MAX_MS;
        let behind = seen.surely_ms.saturating_sub(wall_ms) > 2 * WALL_SKEW_MAX_MS;
        (ahead || behind).then_some(ClockFault::Astray)
    }

    /// Whether most voters' clocks agree with this one, `others` of them being those of other
    /// nodes: then it is right, jump or no jump.
    pub(crate) fn agrees(&self, agreed: bool, others: bool, newest_ms: u64) {
        let (mut state, _) = self.look();
        state.agreed = agreed;
        if agreed && others {
            state.behind_until_ms = newest_ms;
            if state.jumped_ms.take().is_some() {
                tracing::warn!("the other voters' clocks agree with the one that jumped");
            }
        }
    }

    /// An operator says that it is right as it is now.
    pub(crate) fn confirm(&self, newest_ms: u64) {
        let (mut state, _) = self.look();
        state.jumped_ms = None;
        state.behind_until_ms = newest_ms;
    }
}

fn fault(state: &State, wall_ms: u64, newest_ms: u64) -> Option<ClockFault> {
    let behind_ms = newest_ms.saturating_sub(wall_ms);
    match state.jumped_ms {
        Some(by_ms) => Some(ClockFault::Jumped { by_ms }),
        None if !state.agreed => Some(ClockFault::Astray),
        None if behind_ms > WALL_SKEW_MAX_MS && newest_ms > state.behind_until_ms => {
            Some(ClockFault::Behind { by_ms: behind_ms })
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boottime_ms: u64, raw_ms: u64) -> Reading {
        Reading { boottime_ns: boottime_ms * 1_000_000, raw_ns: raw_ms * 1_000_000 }
    }

    #[test]
    fn a_jump_is_what_neither_clock_explains() {
        let start = 1_000_000;
        for (boottime, raw, wall, jumped) in [
            (100, 100, start + 100, 0),
            (100, 100, start + 5_100, 0),
            (100, 100, start + 5_101, 5_001),
            (6_000, 6_000, start + 1_000, 0),
            (6_000, 6_000, start + 900, -5_100),
            (100, 100, start - 5_000, -5_100),
            // The machine was suspended for an hour: one of the two went on.
            (3_600_000, 100, start + 3_600_000, 0),
            (3_600_000, 100, start, 0),
            (100, 100, start + 31_536_000_000, 31_535_999_900),
        ] {
            let got = jump_ms(at(boottime, raw), at(0, 0), wall, start);
            assert_eq!(got, jumped, "{boottime} {raw} {wall}");
        }
    }

    #[test]
    fn a_jump_is_not_believed_until_someone_agrees_with_it() {
        let wall = Arc::new(std::sync::atomic::AtomicU64::new(1_000_000));
        let read = wall.clone();
        let clock = WallClock::new(move || read.load(std::sync::atomic::Ordering::SeqCst));
        let set = |ms: u64| wall.store(ms, std::sync::atomic::Ordering::SeqCst);
        let stamping = Stamping::new(clock, BootId::default(), None);
        assert_eq!(stamping.stamp(0), Err(ClockFault::Astray), "nobody was heard yet");
        stamping.agrees(true, false, 0);
        assert_eq!(stamping.stamp(0), Ok(1_000_000));
        set(9_000_000);
        let jumped = stamping.stamp(0);
        assert!(matches!(jumped, Err(ClockFault::Jumped { by_ms }) if by_ms > 7_900_000));
        // A cluster of one agrees with itself: that says nothing.
        stamping.agrees(true, false, 0);
        assert_eq!(stamping.stamp(0).is_err(), jumped.is_err());
        // Back where it was, it is as good as before.
        set(1_000_001);
        assert_eq!(stamping.stamp(0), Ok(1_000_001));
        let agreed = |stamping: &Stamping| stamping.agrees(true, true, 0);
        for agree in [|stamping: &Stamping| stamping.confirm(0), agreed] {
            set(9_000_000);
            assert!(stamping.stamp(0).is_err());
            agree(&stamping);
            assert_eq!(stamping.stamp(0), Ok(9_000_000));
            set(1_000_000);
            agree(&stamping);
        }
        // What the log says counts as well: a restart forgets what was seen.
        let newest_ms = 1_006_000;
        assert_eq!(stamping.stamp(newest_ms), Err(ClockFault::Behind { by_ms: 6_000 }));
        stamping.confirm(newest_ms);
        assert_eq!(stamping.stamp(newest_ms), Ok(1_000_000));
        assert!(stamping.stamp(newest_ms + 1).is_err());
    }
}
