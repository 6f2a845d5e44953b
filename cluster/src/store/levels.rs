//! The level that the machine was raised to, where a start finds it before anything is applied.
//!
//! The truth is in the log and in snapshots; this is so that a program that is too old says so
//! instead of beginning. Must not know what a level changes.

use super::{Store, keys};
use crate::codec;
use crate::error::{Fatal, What};
use crate::level;

const VERSION: u8 = 1;

/// Notes it. Synced with what is written next; if a crash comes before, the log tells.
pub(crate) fn write(store: &Store, level: u32) -> Result<(), Fatal> {
    let bytes = codec::encode(VERSION, &level)
        .map_err(|error| Fatal::codec(What::Mark, "the level", error))?;
    store.with(|trees| {
        let written = trees.meta.insert(keys::LEVEL, bytes.as_slice());
        written.map(|_| ()).map_err(|error| Fatal::sled(What::Mark, "writing the level", error))
    })
}

/// What was noted; the first if nothing was.
pub(crate) fn read(store: &Store) -> Result<u32, Fatal> {
    let stored = store.with(|trees| {
        let read = trees.meta.get(keys::LEVEL);
        read.map_err(|error| Fatal::sled(What::Mark, "reading the level", error))
    })?;
    stored.map_or(Ok(level::FIRST), |bytes| {
        codec::decode(VERSION, &bytes).map_err(|error| Fatal::codec(What::Mark, "the level", error))
    })
}
