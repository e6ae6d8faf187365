//! Pages of every adapter's lists: how many rows to ask for, where to go on, what a page says of the next one.
//!
//! Does not live here: what a cursor is made of (`cursor`).

use crate::cursor;
use crate::port::{Listed, Page, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most rows of one page, whatever is asked for.
pub(crate) const ROWS_MAX: u32 = 10_000;

/// Rows to ask for: one more than the page holds tells whether there is a next page.
pub(crate) fn rows(page: &Page) -> u32 {
    page.limit.clamp(1, ROWS_MAX) + 1
}

/// The key that a page goes on after; none: it is the first.
pub(crate) fn after<K: DeserializeOwned>(page: &Page, scope: u64) -> Result<Option<K>, StoreError> {
    page.cursor.as_deref().map(|cursor| cursor::decode(scope, cursor)).transpose()
}

/// The page of what was found by asking for [`rows`].
pub(crate) fn listed<T, K: Serialize>(
    mut items: Vec<T>,
    page: &Page,
    scope: u64,
    key: impl Fn(&T) -> K,
) -> Result<Listed<T>, StoreError> {
    let limit = page.limit.clamp(1, ROWS_MAX) as usize;
    if items.len() <= limit {
        return Ok(Listed { items, next: None });
    }
    items.truncate(limit);
    let next = items.last().map(|last| cursor::encode(scope, &key(last))).transpose()?;
    Ok(Listed { items, next })
}
