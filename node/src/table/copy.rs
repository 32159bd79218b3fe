//! The second pass: wanted rows of a table into another.

use super::{TableError, TableReader, TableWriter};

/// Copies the chosen columns of wanted rows, in file order, each with its extra cells behind. `wanted` gives
/// row numbers in ascending order, a number at most once. Gives how many rows were written.
///
/// # Errors
/// What `wanted` gives; [`TableError::RowMissing`] where a wanted row is not in the file or the numbers do not
/// ascend; what reader and writer give.
pub fn copy_rows<E, P, S>(
    reader: &mut TableReader,
    wanted: impl IntoIterator<Item = Result<(u64, P), E>>,
    writer: &mut TableWriter,
) -> Result<u64, E>
where
    E: From<TableError>,
    P: AsRef<[S]>,
    S: AsRef<[u8]>,
{
    let mut written = 0;
    for next in wanted {
        let (number, extra) = next?;
        seek(reader, number)?;
        writer.row(reader.row().cells().chain(extra.as_ref().iter().map(AsRef::as_ref)))?;
        written += 1;
    }
    Ok(written)
}

/// Reads on to a row.
fn seek(reader: &mut TableReader, number: u64) -> Result<(), TableError> {
    while reader.advance()? {
        let found = reader.row().number();
        if found >= number {
            return if found == number { Ok(()) } else { Err(missing(reader, number)) };
        }
    }
    Err(missing(reader, number))
}

fn missing(reader: &TableReader, row: u64) -> TableError {
    TableError::RowMissing { path: reader.path.clone(), row }
}
