//! A list in pages: it grows by one page at a time and never moves what it holds. A vector that grows in steps leaves
//! its former places behind as holes, which at 200,000 devices were a quarter of the memory, and copies megabytes
//! between two records.
//!
//! Invariant: every page but the last is full.

use std::ops::{Index, IndexMut};

/// Bytes of a page, about: nothing to a large fleet, and little to a small one.
const PAGE_BYTES: usize = 32 << 10;

/// A list in pages.
#[derive(Clone, Debug)]
pub struct Pages<T> {
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T> Pages<T> {
    /// Items of a page: a power of two.
    const ITEMS: usize = {
        let mut items = 1;
        while 2 * items * size_of::<T>() <= PAGE_BYTES {
            items *= 2;
        }
        items
    };

    /// Appends.
    pub fn push(&mut self, item: T) {
        let full = self.len == self.pages.len() * Self::ITEMS;
        if full {
            // The first page of a small partition grows as it must.
            self.pages.push(if self.len == 0 { Vec::new() } else { Vec::with_capacity(Self::ITEMS) });
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(item);
            self.len += 1;
        }
    }

    /// Items.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// An item that may be there.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / Self::ITEMS)?.get(at % Self::ITEMS)
    }

    /// An item that may be there.
    #[inline]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pages.get_mut(at / Self::ITEMS)?.get_mut(at % Self::ITEMS)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// In order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flatten()
    }

    /// Bytes of the pages.
    pub fn bytes(&self) -> usize {
        let items: usize = self.pages.iter().map(Vec::capacity).sum();
        items * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.pages[at / Self::ITEMS][at % Self::ITEMS]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / Self::ITEMS][at % Self::ITEMS]
    }
}

impl<T> FromIterator<T> for Pages<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut pages = Self::default();
        items.into_iter().for_each(|item| pages.push(item));
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stand_where_they_were_put_across_pages() {
        let mut pages: Pages<[u64; 100]> = Pages::default();
        assert!(pages.is_empty() && pages.get(0).is_none());
        let count = 3 * Pages::<[u64; 100]>::ITEMS as u64 + 1;
        (0..count).for_each(|k| pages.push([k; 100]));
        assert_eq!((pages.len() as u64, pages.pages.len()), (count, 4));
        assert!((0..count).all(|k| pages[k as usize][99] == k));
        pages.iter_mut().for_each(|item| item[0] += 1);
        pages[40][1] = 7;
        assert!(pages.iter().zip(1..).all(|(item, k)| item[0] == k));
        assert_eq!(pages.get(40).map(|item| item[1]), Some(7));
        assert!(pages.get(count as usize).is_none() && pages.get_mut(usize::MAX).is_none());
    }

    #[test]
    fn items_larger_than_a_page_have_one_each() {
        let pages: Pages<[u8; 70_000]> = [[1; 70_000], [2; 70_000]].into_iter().collect();
        assert_eq!((pages[0][5], pages[1][5], pages.len()), (1, 2, 2));
        assert!(pages.bytes() >= 140_000);
    }
}
