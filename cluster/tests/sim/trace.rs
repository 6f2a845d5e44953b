//! What happened, in order: a digest of all of it, and the last lines for people.

use std::collections::VecDeque;
use std::fmt;

use sha2::{Digest, Sha256};

/// Lines shown when a run fails.
const SHOWN: usize = 400;

#[derive(Default)]
pub struct Trace {
    digest: Sha256,
    pub lines: u64,
    last: VecDeque<String>,
}

impl Trace {
    pub fn note(&mut self, now_ns: u64, line: fmt::Arguments<'_>) {
        let line = format!("{}.{:06} {line}", now_ns / 1_000_000, now_ns % 1_000_000);
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        self.lines += 1;
        if std::env::var_os("AUTHRAI_SIM_ECHO").is_some() {
            println!("{line}");
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    pub fn last(&self) -> impl Iterator<Item = &String> {
        self.last.iter()
    }
}
