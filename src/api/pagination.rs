//! Lists: `limit` and `offset` in, one page out, newest first.
//!
//! Knows nothing of what is listed.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::query::{FromQuery, Parameters};
use crate::limits;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Most results in this page.
    #[param(minimum = 1, maximum = 100, default = 20, required = false)]
    pub limit: u64,
    /// How many results to skip.
    #[param(minimum = 0, maximum = 9007199254740991_u64, default = 0, required = false)]
    pub offset: u64,
}

impl FromQuery for Page {
    fn read(parameters: &mut Parameters) -> Self {
        let limit = parameters.integer("limit", 1..=limits::PAGE_MAX);
        let offset = parameters.integer("offset", 0..=limits::OFFSET_MAX);
        Self { limit: limit.unwrap_or(limits::PAGE_DEFAULT), offset: offset.unwrap_or(0) }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// The results, newest first.
    pub data: Vec<T>,
    /// How many there are in all pages.
    pub total: u64,
    /// The `limit` that was applied.
    pub limit: u64,
    /// The `offset` that was applied.
    pub offset: u64,
    /// Whether more follow this page.
    pub has_more: bool,
}

impl<T> List<T> {
    /// The page of `all`, which come newest first; `shown` renders those in the page only.
    pub fn of<I>(page: Page, all: impl IntoIterator<Item = I>, shown: impl Fn(I) -> T) -> Self {
        let end = page.offset.saturating_add(page.limit);
        let mut total = 0;
        let mut data = Vec::new();
        for item in all {
            if (page.offset..end).contains(&total) {
                data.push(shown(item));
            }
            total += 1;
        }
        Self::from_parts(page, total, data)
    }

    /// A page whose results were picked elsewhere.
    pub fn from_parts(page: Page, total: u64, data: Vec<T>) -> Self {
        let has_more = page.offset.saturating_add(data.len() as u64) < total && !data.is_empty();
        Self { data, total, limit: page.limit, offset: page.offset, has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_out_of_the_whole_and_counts_the_whole() {
        for (limit, offset, data, has_more) in [
            (2, 0, vec![0, 1], true),
            (2, 3, vec![3, 4], false),
            (2, 4, vec![4], false),
            (2, 5, vec![], false),
            (100, u64::MAX, vec![], false),
        ] {
            let list = List::of(Page { limit, offset }, 0..5, |item| item);
            assert_eq!((list.data, list.total, list.has_more), (data, 5, has_more));
        }
    }
}
