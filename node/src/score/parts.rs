//! Stub.
/// Parts.
#[derive(Debug)]
pub struct DenseParts(Vec<u8>);
impl DenseParts {
    /// Part.
    pub fn part(&self, position: u64) -> u8 {
        self.0[position as usize]
    }
}
