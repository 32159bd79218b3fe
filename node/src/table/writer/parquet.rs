//! A Parquet file of text columns that are never null.

use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

/// A row group ends behind this many rows, or this many bytes of text: what the writer holds in memory.
const GROUP_ROWS: usize = 1 << 18;
const GROUP_BYTES: usize = 32 << 20;

/// A file being written.
pub(super) struct ParquetWriter {
    file: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Texts>,
    rows: usize,
    bytes: usize,
}

/// A column's texts of the row group to come.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ParquetWriter {
    pub(super) fn begin(file: BufWriter<File>, names: &[&str]) -> io::Result<Self> {
        let schema = schema(names).map_err(io::Error::other)?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
        let columns = names.iter().map(|_| Texts::default()).collect();
        Ok(Self { file: file.map_err(into_io)?, columns, rows: 0, bytes: 0 })
    }

    /// Adds a row and gives how many cells it has; one with another count than the header's is not whole.
    pub(super) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut count = 0;
        for cell in cells {
            if let Some(column) = self.columns.get_mut(count) {
                column.bytes.extend_from_slice(cell);
                column.ends.push(column.bytes.len());
                self.bytes += cell.len();
            }
            count += 1;
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group().map_err(into_io)?;
        }
        Ok(count)
    }

    pub(super) fn finish(mut self) -> io::Result<BufWriter<File>> {
        if self.rows > 0 {
            self.write_group().map_err(into_io)?;
        }
        self.file.into_inner().map_err(into_io)
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let mut writer = group.next_column()?.expect("the schema has as many columns");
            writer.typed::<ByteArrayType>().write_batch(&column.take(), None, None)?;
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Texts {
    /// The texts as the library wants them: views of one allocation.
    fn take(&mut self) -> Vec<ByteArray> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let mut from = 0;
        let text = |to| bytes.slice(std::mem::replace(&mut from, to)..to).into();
        self.ends.drain(..).map(text).collect()
    }
}

fn schema(names: &[&str]) -> Result<Type, ParquetError> {
    let column = |name: &&str| {
        let column = Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::String));
        column.build().map(Arc::new)
    };
    let columns = names.iter().map(column).collect::<Result<_, _>>()?;
    Type::group_type_builder("rows").with_fields(columns).build()
}

fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
