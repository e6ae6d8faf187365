//! JSON readings, as devices send them: one object, flat as a rule.
//!
//! Two parsers read the same grammar. The scanner goes forward once over what devices usually send and gives up,
//! without judging, on anything unusual: escapes, nested objects, characters beyond ASCII, exponents, and everything
//! that is wrong. The full parser judges all of that. Whatever the scanner accepts the full parser accepts with the
//! same result; a test compares them.
//!
//! The grammar: `device_id` is required; `ts`, `seq` and `boot` are optional, and null there means absent; every
//! other number, boolean or null is a measurement and every other text a tag; nested objects are flattened with
//! dots; arrays are refused; a name occurs once.
//!
//! Does not live here: splitting a request's body into readings (`ingest`), limits and characters (`grammar`).

mod device;
mod full;
mod scanner;
#[cfg(test)]
mod tests;
mod usual;

use crate::grammar::{ReadingLimits, too_large};
use crate::reason::Reject;
use crate::usual::Usual;
use crate::view::{Parts, ReadingView};
pub use device::parse_device;
use usual::JsonLayout;

/// Parses JSON readings, one after another, in scratch of its own.
#[derive(Debug, Default)]
pub struct ReadingParser {
    pub(crate) limits: ReadingLimits,
    pub(crate) buffer: String,
    pub(crate) parts: Parts,
    usual: Usual<JsonLayout>,
}

impl ReadingParser {
    /// With these limits.
    #[must_use]
    pub fn new(limits: ReadingLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Reads one reading.
    ///
    /// # Errors
    /// The first thing that is wrong with it, naming the field, what was found and what would be right.
    pub fn parse<'d>(&'d mut self, json: &'d [u8]) -> Result<ReadingView<'d>, Reject> {
        if self.read_usual(json) { Ok(self.usual_view(json)) } else { self.parse_unusual(json) }
    }

    /// Reads by a layout that is known, if one fits.
    #[inline]
    pub(crate) fn read_usual(&mut self, json: &[u8]) -> bool {
        json.len() <= self.limits.reading_bytes_max
            && self.usual.read(|layout| layout.read(json, &self.limits))
    }

    /// What was read last.
    #[inline]
    pub(crate) fn usual_view<'d>(&'d self, json: &'d [u8]) -> ReadingView<'d> {
        let found = self.usual.found();
        ReadingView::of_layout(&found.layout, json, &found.parts)
    }

    /// Reads by no layout.
    pub(crate) fn parse_unusual<'d>(&'d mut self, json: &'d [u8]) -> Result<ReadingView<'d>, Reject> {
        if json.len() > self.limits.reading_bytes_max {
            return Err(too_large(json.len(), &self.limits));
        }
        if let Ok(text) = std::str::from_utf8(json) {
            self.parts.clear();
            if scanner::scan(text, &self.limits, &mut self.parts).is_some() {
                self.usual.miss(|| JsonLayout::learn(text, &self.parts));
                return Ok(ReadingView::new(text, &self.parts));
            }
        }
        self.parse_in_full(json)
    }

    /// Reads one reading with the full parser alone.
    ///
    /// # Errors
    /// As [`ReadingParser::parse`].
    pub fn parse_in_full<'d>(&'d mut self, json: &[u8]) -> Result<ReadingView<'d>, Reject> {
        if json.len() > self.limits.reading_bytes_max {
            return Err(too_large(json.len(), &self.limits));
        }
        self.parts.clear();
        self.buffer.clear();
        full::parse(json, &self.limits, &mut self.buffer, &mut self.parts)?;
        Ok(ReadingView::new(&self.buffer, &self.parts))
    }
}
