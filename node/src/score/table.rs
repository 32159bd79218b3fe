//! Stub.
use windvane_protocols::score::table::Row;
/// Table.
#[derive(Debug)]
pub struct SummedTable;
impl SummedTable {
    /// Rows.
    pub fn rows(&self, _positions: &[u64]) -> std::io::Result<Vec<Row>> {
        unimplemented!()
    }
}
