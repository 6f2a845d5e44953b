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
    #[param(minimum = 0, maximum = 10000000, default = 0, required = false)]
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

impl Page {
    /// How many results to skip.
    pub fn skip(self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX)
    }

    /// Most results.
    pub fn take(self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

impl<T> List<T> {
    /// The page with these results of `total`.
    pub fn of(page: Page, total: u64, data: Vec<T>) -> Self {
        let has_more = page.offset.saturating_add(page.limit) < total;
        Self { data, total, limit: page.limit, offset: page.offset, has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_follows_a_page_when_it_ends_before_the_total() {
        for (limit, offset, has_more) in
            [(2, 0, true), (2, 2, true), (2, 3, false), (2, 9, false), (100, u64::MAX, false)]
        {
            let list = List::<u8>::of(Page { limit, offset }, 5, Vec::new());
            assert_eq!(list.has_more, has_more, "{limit} from {offset}");
        }
    }
}
