//! What a node's clocks said when it last looked, kept across restarts.
//!
//! A process that starts again would otherwise take any wall clock for right, and know nothing of the
//! time by which it had called tokens expired. The record is written in place and not synced: it
//! survives a kill, and after a loss of power it may be gone or old, which is as if it had never been.
//! Must not know what is made of it.

use std::io;
use std::path::Path;

use super::disk::{self, File};
use crate::lease::{Reading, WALL_SKEW_MAX_MS};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 16 + 3 * 8;
const RECORD_BYTES: usize = BODY_BYTES + 4;
/// By so much of what has gone by the clock that measured it may be wrong.
const WRONG_BY: u64 = 40;

/// Which boot of the machine this is; all zeros where the system does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BootId([u8; 16]);

impl BootId {
    /// What the kernel says.
    pub(crate) fn read() -> BootId {
        #[cfg(test)]
        if crate::sim::runs() {
            return BootId::default();
        }
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        BootId::parse(&text)
    }

    fn parse(text: &str) -> BootId {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut id = [0; 16];
        for (byte, two) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let two = std::str::from_utf8(two).unwrap_or("0");
            *byte = u8::from_str_radix(two, 16).unwrap_or(0);
        }
        // Clocks of another rate are those of another machine.
        #[cfg(feature = "skewed-clock")]
        for (byte, rate) in id
            .iter_mut()
            .zip(std::env::var("AUTHRAI_TEST_CLOCK_PPM").iter().flat_map(|ppm| ppm.bytes()))
        {
            *byte ^= rate;
        }
        BootId(id)
    }

    fn is_known(self) -> bool {
        self != BootId::default()
    }
}

/// What the clocks of one node said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockRecord {
    pub boot_id: BootId,
    /// `CLOCK_BOOTTIME`.
    pub boottime_ms: u64,
    /// The wall clock, less a jump that was not believed.
    pub believed_ms: u64,
    /// How late the cluster's time was, as far as the node knew.
    pub time_ms: u64,
}

/// A record, and what has gone by since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    record: ClockRecord,
    /// None after a boot of the machine: nobody knows how long that took.
    elapsed_ms: Option<u64>,
}

impl ClockRecord {
    /// Seen from `now`, in the boot `boot_id`.
    pub(crate) fn since(self, boot_id: BootId, now: Reading) -> Since {
        let same = boot_id.is_known() && boot_id == self.boot_id;
        let elapsed_ms = (now.boottime_ns / 1_000_000).checked_sub(self.boottime_ms);
        Since { record: self, elapsed_ms: elapsed_ms.filter(|_| same) }
    }

    fn encode(&self) -> [u8; RECORD_BYTES] {
        let ClockRecord { boot_id, boottime_ms, believed_ms, time_ms } = *self;
        let mut body = vec![VERSION];
        body.extend(boot_id.0);
        for ms in [boottime_ms, believed_ms, time_ms] {
            body.extend(ms.to_le_bytes());
        }
        body.extend(crc32fast::hash(&body).to_le_bytes());
        let mut bytes = [0; RECORD_BYTES];
        bytes.copy_from_slice(&body);
        bytes
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<ClockRecord> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (version, body) = body.split_first()?;
        let (boot_id, body) = body.split_first_chunk::<16>()?;
        let (boottime_ms, body) = body.split_first_chunk::<8>()?;
        let (believed_ms, time_ms) = body.split_first_chunk::<8>()?;
        (*version == VERSION).then_some(ClockRecord {
            boot_id: BootId(*boot_id),
            boottime_ms: u64::from_le_bytes(*boottime_ms),
            believed_ms: u64::from_le_bytes(*believed_ms),
            time_ms: u64::from_le_bytes(time_ms.try_into().ok()?),
        })
    }
}

impl Since {
    /// How far `wall_ms` is from where the wall clock must be; 0 within the allowed skew. Ahead after
    /// a boot of the machine proves nothing: it may have been off for as long.
    pub(crate) fn jump_ms(&self, wall_ms: u64) -> i64 {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let expected_ms = self.record.believed_ms.saturating_add(self.elapsed_ms.unwrap_or(0));
        let by_ms = signed(wall_ms).saturating_sub(signed(expected_ms));
        let explained = by_ms > 0 && self.was_off();
        if explained || by_ms.unsigned_abs() <= WALL_SKEW_MAX_MS { 0 } else { by_ms }
    }

    /// Whether the machine may have been off in between.
    pub(crate) fn was_off(&self) -> bool {
        self.elapsed_ms.is_none()
    }

    /// How late the cluster's time surely is by now.
    pub(crate) fn time_ms(&self) -> u64 {
        let elapsed_ms = self.elapsed_ms.unwrap_or(0);
        match self.record.time_ms {
            // A node that never knew the time knows none now.
            0 => 0,
            time_ms => time_ms.saturating_add(elapsed_ms - elapsed_ms / WRONG_BY),
        }
    }
}

/// The file that holds the record.
pub(crate) struct ClockFile(File);

impl ClockFile {
    /// Opens it in `data_dir`, and reads what it holds.
    pub(crate) fn open(data_dir: &Path) -> io::Result<(ClockFile, Option<ClockRecord>)> {
        let file = disk::open_to_change(&data_dir.join("clock"))?;
        let mut bytes = [0; RECORD_BYTES];
        let record = match disk::read_exact_at(&file, &mut bytes, 0) {
            Ok(()) => ClockRecord::decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok((ClockFile(file), record))
    }

    /// Replaces it.
    pub(crate) fn write(&self, record: &ClockRecord) -> io::Result<()> {
        disk::write_all_at(&self.0, &record.encode(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: ClockRecord = ClockRecord {
        boot_id: BootId([7; 16]),
        boottime_ms: 100_000,
        believed_ms: 1_700_000_000_000,
        time_ms: 1_700_000_000_040,
    };

    fn since(boot: u8, boottime_ms: u64) -> Since {
        let ns = boottime_ms * 1_000_000;
        RECORD.since(BootId([boot; 16]), Reading { boottime_ns: ns, raw_ns: 0 })
    }

    #[test]
    fn a_start_on_a_wrong_clock_is_noticed_where_it_can_be() {
        // The boot, its time, the wall clock from when it was believed, and how far off it is.
        for (boot, boottime_ms, wall_ms, jumped_ms) in [
            (7, 160_000, 60_000, 0),
            (7, 160_000, 64_999, 0),
            (7, 160_000, 3_660_000, 3_600_000),
            (7, 160_000, -3_600_000, -3_660_000),
            // The machine was started again: it may have been off for a year, but not for less than
            // nothing.
            (8, 9_000, 31_536_000_000, 0),
            (8, 9_000, -3_600_000, -3_600_000),
            // So it is where the system does not say which boot this is.
            (0, 160_000, 3_660_000, 0),
            (0, 160_000, -3_600_000, -3_600_000),
            // A time of the same boot that is earlier is none of that boot.
            (7, 90_000, 3_600_000, 0),
        ] {
            let wall_ms = RECORD.believed_ms.saturating_add_signed(wall_ms);
            let jumped = since(boot, boottime_ms).jump_ms(wall_ms);
            assert_eq!(jumped, jumped_ms, "{boot} {boottime_ms} {wall_ms}");
        }
    }

    #[test]
    fn the_clusters_time_goes_on_while_the_node_is_down_as_far_as_that_is_known() {
        assert_eq!(since(7, 140_000).time_ms(), RECORD.time_ms + 39_000);
        assert_eq!(since(8, 140_000).time_ms(), RECORD.time_ms);
        let none = ClockRecord { time_ms: 0, ..RECORD };
        let now = Reading { boottime_ns: 140_000_000_000, raw_ns: 0 };
        assert_eq!(none.since(BootId([7; 16]), now).time_ms(), 0);
    }

    #[test]
    fn the_record_comes_back_and_a_broken_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, none) = ClockFile::open(dir.path()).expect("opens");
        assert_eq!(none, None);
        file.write(&RECORD).expect("writes");
        assert_eq!(ClockFile::open(dir.path()).expect("opens").1, Some(RECORD));
        for bit in 0..RECORD_BYTES * 8 {
            let mut bad = RECORD.encode();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ClockRecord::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn the_kernels_name_of_a_boot_is_read_as_a_whole() {
        let id = BootId::parse("00112233-4455-6677-8899-aabbccddeeff\n");
        assert_eq!(id.0[..3], [0x00, 0x11, 0x22]);
        assert_eq!(id.0[15], 0xff);
        assert!(!BootId::parse("").is_known());
    }
}
