//! Records of one partition as the port shows them, borrowed from a batch.

use super::native::Piece;
use crate::port::RecordRef;

/// Records of one partition that follow each other. Its lists are kept from run to run: a record costs no allocation.
#[derive(Default)]
pub(super) struct RecordRun<'a> {
    pieces: Vec<Piece<'a>>,
    headers: Vec<(&'a str, &'a [u8])>,
    /// Where each record's headers end.
    ends: Vec<usize>,
}

impl<'a> RecordRun<'a> {
    /// Adds a record.
    pub(super) fn push(&mut self, piece: Piece<'a>) {
        piece.headers(&mut self.headers);
        self.ends.push(self.headers.len());
        self.pieces.push(piece);
    }

    /// Offset of the last one.
    pub(super) fn last_offset(&self) -> Option<i64> {
        self.pieces.last().map(|piece| piece.offset())
    }

    /// Shows the records from an offset on, and forgets all; returns how many there were.
    pub(super) fn visit(&mut self, from: i64, show: &mut dyn FnMut(&[RecordRef<'_>])) -> usize {
        let skipped = self.pieces.iter().take_while(|piece| piece.offset() < from).count();
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let records: Vec<RecordRef<'_>> = self
            .pieces
            .iter()
            .zip(starts.zip(&self.ends))
            .skip(skipped)
            .map(|(piece, (start, end))| RecordRef {
                offset: piece.offset(),
                received_at: piece.timestamp().unwrap_or(0).saturating_mul(1000),
                key: piece.key(),
                value: piece.value(),
                headers: &self.headers[start..*end],
            })
            .collect();
        let count = records.len();
        if count > 0 {
            show(&records);
        }
        self.clear();
        count
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.headers.clear();
        self.ends.clear();
    }
}
