//! Values of one statement, packed: written once from a borrowed record, so that a row costs two allocations however
//! many columns it has.
//!
//! Does not live here: which column is which (`statement` and `plan` name them in the same order).

use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

/// Bytes of a usual row, to begin with.
const BYTES_USUAL: usize = 256;

/// Values in the order of a statement's places, in CQL's binary form.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    bytes: Vec<u8>,
    /// Length of each; none: null.
    lengths: Vec<Option<usize>>,
}

impl Cells {
    pub(super) fn new(columns: usize) -> Self {
        Self { bytes: Vec::with_capacity(BYTES_USUAL), lengths: Vec::with_capacity(columns) }
    }

    /// Bytes of the values.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    fn raw(mut self, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(value);
        self.lengths.push(Some(value.len()));
        self
    }

    pub(super) fn text(self, value: &str) -> Self {
        self.raw(value.as_bytes())
    }

    /// An absent text is stored as an empty one: a null would be a tombstone in every row that has none.
    pub(super) fn text_or_empty(self, value: Option<&str>) -> Self {
        self.text(value.unwrap_or_default())
    }

    pub(super) fn bigint(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn boolean(self, value: bool) -> Self {
        self.raw(&[u8::from(value)])
    }

    pub(super) fn double(self, value: f64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// A null is written as such: it must cover the older row's value.
    pub(super) fn double_or_null(mut self, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.double(value),
            None => {
                self.lengths.push(None);
                self
            }
        }
    }
}

/// A statement was given another number of values than it has places: a mistake of this crate.
#[derive(Debug, thiserror::Error)]
#[error("{given} values for a statement with {places} places")]
struct Miscounted {
    given: usize,
    places: usize,
}

impl SerializeRow for Cells {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let (given, places) = (self.lengths.len(), context.columns().len());
        if given != places {
            return Err(SerializationError::new(Miscounted { given, places }));
        }
        let mut rest = self.bytes.as_slice();
        for length in &self.lengths {
            let cell = writer.make_cell_writer();
            if let Some(length) = length {
                let (value, later) = rest.split_at(*length);
                cell.set_value(value).map_err(SerializationError::new)?;
                rest = later;
            } else {
                cell.set_null();
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::frame::response::result::{ColumnSpec, ColumnType, NativeType, TableSpec};

    #[test]
    fn values_are_written_in_order_and_counted() {
        let cells = Cells::new(7)
            .text("é")
            .text_or_empty(None)
            .bigint(-1)
            .int(258)
            .boolean(true)
            .double(1.5)
            .double_or_null(None);
        assert_eq!(cells.size(), 2 + 8 + 4 + 1 + 8);
        let table = TableSpec::borrowed("k", "t");
        let column = || ColumnSpec::borrowed("c", ColumnType::Native(NativeType::Blob), table.clone());
        let columns: Vec<ColumnSpec<'_>> = std::iter::repeat_with(column).take(7).collect();
        let written = |columns: &[ColumnSpec<'_>]| {
            let mut bytes = Vec::new();
            let context = RowSerializationContext::from_specs(columns);
            cells.serialize(&context, &mut RowWriter::new(&mut bytes)).map(|()| bytes)
        };
        let mut expected = vec![0, 0, 0, 2, 0xc3, 0xa9, 0, 0, 0, 0, 0, 0, 0, 8];
        expected.extend([0xff; 8]);
        expected.extend([0, 0, 0, 4, 0, 0, 1, 2, 0, 0, 0, 1, 1, 0, 0, 0, 8]);
        expected.extend(1.5_f64.to_be_bytes());
        expected.extend([0xff; 4]);
        assert_eq!(written(&columns).unwrap(), expected);
        let error = written(&columns[1..]).unwrap_err();
        assert!(error.to_string().contains("7 values for a statement with 6 places"), "{error}");
    }
}
