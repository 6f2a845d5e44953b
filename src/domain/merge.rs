//! One page of several lists, newest first, without collecting them. Must not know what is listed.

use std::{collections::BinaryHeap, iter::Peekable};

/// The items `offset..offset + limit` of the union of `lists`, largest key first.
///
/// Each list comes with its largest key, the lists in falling order of it, and yields its items in
/// falling order of their keys, which are all different. A list is opened only when the page
/// reaches it: O((lists opened + offset + limit) · log lists opened).
pub(super) fn newest<K, V, L>(
    lists: impl Iterator<Item = (K, L)>,
    offset: usize,
    limit: usize,
) -> Vec<V>
where
    K: Ord + Copy,
    L: Iterator<Item = (K, V)>,
{
    let mut closed = lists.peekable();
    let mut open: Vec<Peekable<L>> = Vec::new();
    let mut next: BinaryHeap<(K, usize)> = BinaryHeap::new();
    let mut page = Vec::new();
    let mut to_skip = offset;
    while page.len() < limit {
        while let Some((largest, list)) =
            closed.next_if(|(largest, _)| next.peek().is_none_or(|(top, _)| largest > top))
        {
            next.push((largest, open.len()));
            open.push(list.peekable());
        }
        let Some((_, from)) = next.pop() else { break };
        let item = open[from].next();
        if let Some((key, _)) = open[from].peek() {
            next.push((*key, from));
        }
        match item {
            Some(_) if to_skip > 0 => to_skip -= 1,
            Some((_, value)) => page.push(value),
            None => {}
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_is_a_window_of_the_sorted_union(
            lists in prop::collection::vec(prop::collection::btree_set(0u32..500, 0..20), 0..8),
            offset in 0usize..60,
            limit in 0usize..30,
        ) {
            // Keys are told apart by their list, as ids are by being unique.
            let mut sorted: Vec<Vec<(u32, usize)>> = lists
                .iter()
                .enumerate()
                .map(|(list, keys)| keys.iter().rev().map(|key| (*key, list)).collect())
                .filter(|list: &Vec<_>| !list.is_empty())
                .collect();
            sorted.sort_by_key(|list| std::cmp::Reverse(list[0]));
            let mut all: Vec<_> = sorted.iter().flatten().copied().collect();
            all.sort_unstable_by_key(|key| std::cmp::Reverse(*key));
            let expected: Vec<_> = all.into_iter().skip(offset).take(limit).collect();
            let page = newest(
                sorted.iter().map(|list| (list[0], list.iter().map(|key| (*key, *key)))),
                offset,
                limit,
            );
            prop_assert_eq!(page, expected);
        }
    }
}
