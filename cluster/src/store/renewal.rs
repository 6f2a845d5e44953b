//! Beginning again, under the same name, with nothing but one's vote: for a node of a cluster whose
//! store is damaged.
//!
//! What is damaged is put aside, and the node starts as an empty follower to which the leader sends
//! everything. It keeps its identity and its vote, which are in files of their own, so it follows no
//! leader of a term that it had left. Until it holds everything that it may have acknowledged, which
//! [`crate::recovering`] decides, it gives its vote to nobody. What was put aside is kept until then.
//!
//! ```text
//! data dir/  renewing   there while a renewal is under way: why, after one byte that says how far it is
//!            damaged/   what was put aside
//! ```
//!
//! Must not know how a node is filled.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ballot, identity, replace_file};
use crate::error::Fatal;
use crate::store::os::sync_dir;

/// There while a renewal is under way.
const MARKER: &str = "renewing";
/// Where the damaged files go.
const ASIDE: &str = "damaged";
/// A running node notes here that its next start must renew it.
const NOTE: &str = "renew";
/// What is put aside.
const RENEWED: [&str; 4] = ["store", "journal", "snapshots", "mark"];
/// The first byte of the marker while files are put aside, and after that.
const PUTTING_ASIDE: u8 = b'1';
const FILLING: u8 = b'2';

fn marker(data_dir: &Path) -> PathBuf {
    data_dir.join(MARKER)
}

fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether the node in `data_dir` is being filled again.
pub(crate) fn under_way(data_dir: &Path) -> bool {
    marker(data_dir).exists()
}

/// Whether the node in `data_dir` can be made again from its peers: who it is and what it promised is
/// known, and others vote beside it.
fn possible(data_dir: &Path) -> io::Result<bool> {
    let others = ballot::read(data_dir)?.is_some_and(|kept| !kept.others.is_empty());
    Ok(others && identity::read_file(data_dir).is_ok_and(|identity| identity.is_some()))
}

/// Notes that the next start must renew the node because of `damage`. A failure leaves the damage to
/// be found again.
pub(crate) fn note(data_dir: &Path, damage: &Fatal) {
    if let Err(error) = replace_file(&data_dir.join(NOTE), damage.to_string().as_bytes()) {
        tracing::warn!(%error, "cannot note that this node must be filled again");
    }
}

/// What a running node noted, or what an interrupted renewal was begun for.
pub(crate) fn due(data_dir: &Path) -> io::Result<Option<String>> {
    if let Some(why) = missing_is_none(fs::read(marker(data_dir)))?
        && why.first() == Some(&PUTTING_ASIDE)
    {
        return Ok(Some(String::from_utf8_lossy(&why[1..]).into_owned()));
    }
    let noted = missing_is_none(fs::read(data_dir.join(NOTE)))?;
    Ok(noted.map(|why| String::from_utf8_lossy(&why).into_owned()))
}

/// Puts aside what is damaged in `data_dir`, if the node can be made again from its peers; whether it
/// can. The directory is locked, and nothing in it is open.
pub(crate) fn begin(data_dir: &Path, why: &str) -> io::Result<bool> {
    #[cfg(test)]
    if crate::sim::runs() {
        return Ok(false);
    }
    if !possible(data_dir)? {
        return Ok(false);
    }
    tracing::error!(why, "this node begins again and fetches everything from the other members");
    let mark =
        |how_far: u8| replace_file(&marker(data_dir), &[&[how_far], why.as_bytes()].concat());
    mark(PUTTING_ASIDE)?;
    let aside = data_dir.join(ASIDE);
    fs::create_dir_all(&aside)?;
    for name in RENEWED {
        let (from, to) = (data_dir.join(name), aside.join(name));
        if !from.exists() {
            continue;
        }
        if !to.exists() {
            fs::rename(&from, &to)?;
        } else if from.is_dir() {
            // What an earlier renewal has put aside may be all that there is; this is less.
            fs::remove_dir_all(&from)?;
        } else {
            fs::remove_file(&from)?;
        }
    }
    sync_dir(&aside)?;
    missing_is_none(fs::remove_file(data_dir.join(NOTE)))?;
    sync_dir(data_dir)?;
    mark(FILLING)?;
    Ok(true)
}

/// The node in `data_dir` holds everything again.
pub(crate) fn end(data_dir: &Path) -> io::Result<()> {
    fs::remove_file(marker(data_dir))?;
    sync_dir(data_dir)?;
    missing_is_none(fs::remove_dir_all(data_dir.join(ASIDE)))?;
    Ok(())
}
