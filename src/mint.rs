//! Minting ids: ULIDs that grow within this process, so that lists by id are lists by age.

use std::sync::{Mutex, PoisonError};

use ulid::Generator;

static GENERATOR: Mutex<Generator> = Mutex::new(Generator::new());

/// A fresh ULID, larger than every earlier one of this process.
pub fn ulid() -> u128 {
    let mut generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    match generator.generate() {
        Ok(ulid) => ulid.into(),
        // 2^80 ids within one millisecond are not drawn; the next one carries into the time part.
        Err(overflow) => overflow.commit_overflow_increment().into(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_grow() {
        let ids: Vec<u128> = (0..1000).map(|_| super::ulid()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
