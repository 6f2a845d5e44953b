//! The keys under which the store holds its rows.
//!
//! Every key of a striped row ends in the two bytes of its part, which [`super::stripe`] adds.
//! Numbers are big-endian so that keys sort by them. A prefix once used is never given another
//! meaning.

/// In tree `log`: rows of entries.
const LOG_ROW: u8 = b'e';
/// In tree `log`: the last purged log id.
pub(crate) const PURGED: &[u8] = b"p";
/// In tree `meta`: the vote.
pub(crate) const VOTE: &[u8] = b"vote";
/// In tree `meta`: the commit mark.
pub(crate) const COMMITTED: &[u8] = b"committed";
/// In tree `meta`: the level that the machine was raised to.
pub(crate) const LEVEL: &[u8] = b"level";
/// In tree `meta`: what the file of the mark holds at least.
pub(crate) const MARKED: &[u8] = b"marked";
/// In tree `meta`: node and cluster.
pub(crate) const IDENTITY: &[u8] = b"identity";
/// In tree `journal`: rows of records.
const JOURNAL_ROW: u8 = b'r';
/// In tree `journal`: posting lists.
const POSTINGS: u8 = b'i';

/// The log row that begins with entry `first`.
pub(crate) fn log_row(first: u64) -> Vec<u8> {
    let mut key = vec![LOG_ROW];
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// The index that [`log_row`] put into `key`.
pub(crate) fn log_row_first(key: &[u8]) -> Option<u64> {
    (*key.first()? == LOG_ROW).then(|| tail_u64(&key[1..])).flatten()
}

/// What all keys of rows of `chain` begin with.
pub(crate) fn chain(chain: &[u8]) -> Vec<u8> {
    let mut key = vec![JOURNAL_ROW];
    push_short(&mut key, chain);
    key
}

/// The journal row of `chain` that begins with record `first`.
pub(crate) fn journal_row(chain_key: &[u8], first: u64) -> Vec<u8> {
    let mut key = chain(chain_key);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// The chain and the first position that [`journal_row`] put into `key`.
pub(crate) fn parse_journal_row(key: &[u8]) -> Option<(&[u8], u64)> {
    let (&prefix, rest) = key.split_first()?;
    let (&len, rest) = rest.split_first()?;
    if prefix != JOURNAL_ROW || rest.len() < usize::from(len) {
        return None;
    }
    let (chain, first) = rest.split_at(usize::from(len));
    Some((chain, tail_u64(first)?))
}

/// What the keys of all journal rows begin with, and what they stay below.
pub(crate) fn journal_rows() -> (Vec<u8>, Vec<u8>) {
    (vec![JOURNAL_ROW], vec![JOURNAL_ROW + 1])
}

/// What all keys of posting lists of `tag` in `chain` begin with.
pub(crate) fn postings_of(chain: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut key = vec![POSTINGS];
    push_short(&mut key, chain);
    push_short(&mut key, tag);
    key
}

/// The posting list of `tag` in block `block` of `chain`.
pub(crate) fn postings(chain: &[u8], tag: &[u8], block: u64) -> Vec<u8> {
    let mut key = postings_of(chain, tag);
    key.extend_from_slice(&block.to_be_bytes());
    key
}

/// The number that ends `key`.
pub(crate) fn tail_u64(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// The smallest key that is greater than every key that begins with `prefix`.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// Chains and tags are at most 255 bytes by their limits; a longer one could not be told apart.
fn push_short(key: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u8::MAX));
    key.push(bytes.len() as u8);
    key.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_their_numbers_and_come_apart_again() {
        assert!(log_row(255) < log_row(256));
        assert_eq!(log_row_first(&log_row(256)), Some(256));
        assert_eq!(log_row_first(PURGED), None);
        assert!(journal_row(b"a", 9) < journal_row(b"a", 10));
        assert_eq!(parse_journal_row(&journal_row(b"a", 9)), Some((b"a".as_slice(), 9)));
        assert!(!journal_row(b"ab", 1).starts_with(&chain(b"a")));
        assert_eq!(tail_u64(&postings(b"a", b"t", 7)), Some(7));
    }

    #[test]
    fn the_stored_keys_do_not_change() {
        assert_eq!(log_row(1), [b'e', 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(journal_row(b"c", 2), [b'r', 1, b'c', 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(postings(b"c", b"t", 3), [b'i', 1, b'c', 1, b't', 0, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn the_end_of_a_prefix_is_beyond_all_that_begin_with_it() {
        assert_eq!(after(b"ab"), b"ac");
        assert_eq!(after(&[1, 255]), [2]);
    }
}
