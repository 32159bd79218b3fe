//! A message of declared length, in pieces of any length, cut into whole units.

use super::Rr22Error;

/// Counts a message's bytes and keeps what is less than a unit.
#[derive(Debug)]
pub(super) struct Cutter {
    unit: usize,
    expected: usize,
    found: usize,
    partial: Vec<u8>,
}

impl Cutter {
    /// A message of `expected` bytes, a multiple of `unit`.
    pub(super) fn new(unit: usize, expected: usize) -> Self {
        Self { unit, expected, found: 0, partial: Vec::with_capacity(unit) }
    }

    /// Passes on the units that a piece completes: slices of one or more.
    pub(super) fn feed(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Rr22Error>,
    ) -> Result<(), Rr22Error> {
        if piece.len() > self.expected - self.found {
            return Err(Rr22Error::TooLong { expected: self.expected });
        }
        self.found += piece.len();
        if !self.partial.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(self.unit - self.partial.len()));
            self.partial.extend_from_slice(head);
            piece = rest;
            if self.partial.len() < self.unit {
                return Ok(());
            }
            each(&self.partial)?;
            self.partial.clear();
        }
        let (whole, rest) = piece.split_at(piece.len() - piece.len() % self.unit);
        self.partial.extend_from_slice(rest);
        if whole.is_empty() { Ok(()) } else { each(whole) }
    }

    /// Whether all bytes have come.
    pub(super) fn finish(&self) -> Result<(), Rr22Error> {
        let Self { expected, found, .. } = *self;
        if found == expected { Ok(()) } else { Err(Rr22Error::TooShort { expected, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_do_not_depend_on_how_the_message_is_cut() {
        let message: Vec<u8> = (0..70).collect();
        for piece in 1..=70 {
            let (mut cutter, mut found) = (Cutter::new(7, 70), Vec::new());
            for piece in message.chunks(piece) {
                cutter
                    .feed(piece, |units| {
                        assert!(!units.is_empty() && units.len() % 7 == 0);
                        found.extend_from_slice(units);
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!((found, cutter.finish()), (message.clone(), Ok(())));
        }
    }

    #[test]
    fn messages_of_another_length_are_refused() {
        let mut cutter = Cutter::new(7, 14);
        assert_eq!(cutter.feed(&[0; 15], |_| Ok(())), Err(Rr22Error::TooLong { expected: 14 }));
        cutter.feed(&[0; 9], |_| Ok(())).unwrap();
        assert_eq!(cutter.finish(), Err(Rr22Error::TooShort { expected: 14, found: 9 }));
        assert_eq!(cutter.feed(&[0; 6], |_| Ok(())), Err(Rr22Error::TooLong { expected: 14 }));
        cutter.feed(&[0; 5], |_| Ok(())).unwrap();
        assert_eq!(cutter.finish(), Ok(()));
    }
}
