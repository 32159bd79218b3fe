//! Who holds which numbers, planned block by block.
//!
//! A block is 256 rows of each carrier. A person's numbers all lie in one block, so that a block alone
//! tells how many numbers stand under one ID, and a carrier of any size is made in constant memory.

use crate::numbering::CARRIERS;
use crate::people::PersonId;
use crate::seed::{Purpose, Seed};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// Rows of one carrier in a block.
pub(crate) const BLOCK_ROWS: u64 = 256;
/// Person numbers that belong to a block: 768 possible holders, then 256 former holders.
pub(crate) const PEOPLE_PER_BLOCK: u64 = 1_024;
const FORMER_FROM: u64 = CARRIERS as u64 * BLOCK_ROWS;
/// A ring needs this many seats in its block, so that small worlds are not all ring.
const SEATS_FOR_A_RING: usize = 120;

/// A trait that the plan wants some row to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Trait {
    FraudConfirmed,
    MoneyMule,
    FraudSuspected,
    BulkCalling,
    BulkSms,
    SharedDevice,
    SimSwapped,
    Fresh,
    Suspended,
    Closed,
    RecycledRecently,
}

impl Trait {
    pub(crate) const ALL: [Self; 11] = [
        Self::FraudConfirmed,
        Self::MoneyMule,
        Self::FraudSuspected,
        Self::BulkCalling,
        Self::BulkSms,
        Self::SharedDevice,
        Self::SimSwapped,
        Self::Fresh,
        Self::Suspended,
        Self::Closed,
        Self::RecycledRecently,
    ];
}

/// A set of traits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits(u16);

impl Traits {
    pub(crate) fn has(self, wanted: Trait) -> bool {
        self.0 & 1 << wanted as u8 != 0
    }

    fn add(&mut self, added: Trait) {
        self.0 |= 1 << added as u8;
    }
}

/// The plan for one row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    holder: u16,
    pub(crate) numbers_under_id: u32,
    pub(crate) in_ring: bool,
    pub(crate) traits: Traits,
}

/// The plan for up to 256 rows of each carrier.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    index: u64,
    rows: usize,
    holders: u16,
    slots: Vec<Slot>,
}

impl Block {
    /// Plans block `index` with `rows` rows of each carrier.
    pub(crate) fn plan(seed: &Seed, index: u64, rows: usize) -> Self {
        let mut rng = seed.stream(Purpose::Block, index);
        let seats = rows * CARRIERS;
        let mut block = Self { index, rows, holders: 0, slots: vec![Slot::default(); seats] };
        let mut order: Vec<usize> = (0..seats).collect();
        order.shuffle(&mut rng);
        let mut free = order.as_slice();
        if seats >= SEATS_FOR_A_RING {
            block.seat_ring(&mut rng, &mut free);
        }
        let many = rng.random_range(5..=6);
        block.seat_holder(&mut free, many);
        while !free.is_empty() {
            let numbers = [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4][rng.random_range(0..12)];
            block.seat_holder(&mut free, numbers);
        }
        for carrier in 0..CARRIERS {
            block.plant_traits(&mut rng, carrier, &order);
        }
        block
    }

    /// How many rows of each carrier the block holds.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of the block's first row in a carrier's data.
    pub(crate) fn first_row(&self) -> u64 {
        self.index * BLOCK_ROWS
    }

    /// The plan for `row` (within the block) of `carrier`.
    pub(crate) fn slot(&self, carrier: usize, row: usize) -> Slot {
        self.slots[carrier * self.rows + row]
    }

    /// Who holds the number in `slot`.
    pub(crate) fn holder(&self, slot: Slot) -> PersonId {
        PersonId(self.index * PEOPLE_PER_BLOCK + u64::from(slot.holder))
    }

    /// Everybody who holds a number of this block.
    pub(crate) fn holders(&self) -> impl Iterator<Item = PersonId> + use<> {
        let first = self.index * PEOPLE_PER_BLOCK;
        (first..first + u64::from(self.holders)).map(PersonId)
    }

    /// Somebody other than `slot`'s holder who may have held its number before: half of them hold other
    /// numbers today, half hold none.
    pub(crate) fn somebody_else(&self, rng: &mut impl Rng, slot: Slot) -> PersonId {
        let first = self.index * PEOPLE_PER_BLOCK;
        let other = rng.random_range(0..u64::from(self.holders));
        if other == u64::from(slot.holder) || rng.random_bool(0.5) {
            return PersonId(first + FORMER_FROM + rng.random_range(0..BLOCK_ROWS));
        }
        PersonId(first + other)
    }

    /// Another member of the ring that `slot` belongs to, if it belongs to one.
    pub(crate) fn fellow(&self, rng: &mut impl Rng, slot: Slot) -> Option<PersonId> {
        let mut members: Vec<u16> =
            self.slots.iter().filter(|other| other.in_ring).map(|o| o.holder).collect();
        members.retain(|member| slot.in_ring && *member != slot.holder);
        let chosen = members.get(rng.random_range(0..members.len().max(1)))?;
        Some(PersonId(self.index * PEOPLE_PER_BLOCK + u64::from(*chosen)))
    }

    /// Two to four people who hold five to eight numbers each and use them in the same devices.
    fn seat_ring(&mut self, rng: &mut impl Rng, free: &mut &[usize]) {
        for _ in 0..rng.random_range(2..=4) {
            let numbers = rng.random_range(5..=8);
            for &seat in self.seat_holder(free, numbers) {
                let slot = &mut self.slots[seat];
                slot.in_ring = true;
                slot.traits.add(Trait::SharedDevice);
                for (one_in, added) in
                    [(6, Trait::FraudConfirmed), (4, Trait::MoneyMule), (3, Trait::FraudSuspected)]
                {
                    if rng.random_ratio(1, one_in) {
                        slot.traits.add(added);
                    }
                }
            }
        }
    }

    /// Gives the next holder the next `numbers` free seats, or those that are left.
    fn seat_holder<'a>(&mut self, free: &mut &'a [usize], numbers: usize) -> &'a [usize] {
        let (taken, rest) = free.split_at(numbers.min(free.len()));
        *free = rest;
        for &seat in taken {
            self.slots[seat].holder = self.holders;
            self.slots[seat].numbers_under_id = taken.len() as u32;
        }
        self.holders += u16::from(!taken.is_empty());
        taken
    }

    /// Gives every trait to one otherwise ordinary row of `carrier`, and a second trait to one in five.
    fn plant_traits(&mut self, rng: &mut impl Rng, carrier: usize, order: &[usize]) {
        let seats = carrier * self.rows..(carrier + 1) * self.rows;
        let ordinary: Vec<usize> = order
            .iter()
            .copied()
            .filter(|seat| seats.contains(seat) && self.slots[*seat].numbers_under_id < 5)
            .collect();
        let mut wanted = Trait::ALL;
        wanted.shuffle(rng);
        for (seat, planted) in ordinary.into_iter().zip(wanted) {
            let traits = &mut self.slots[seat].traits;
            traits.add(planted);
            if rng.random_ratio(1, 5) {
                traits.add(Trait::ALL[rng.random_range(0..Trait::ALL.len())]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn numbers_under_an_id_are_those_the_holder_has_in_the_block() {
        for rows in [1, 3, 40, 256] {
            let block = Block::plan(&Seed::new(11), 4, rows);
            let mut held: HashMap<u16, u32> = HashMap::new();
            block.slots.iter().for_each(|slot| *held.entry(slot.holder).or_default() += 1);
            assert!(block.slots.iter().all(|slot| held[&slot.holder] == slot.numbers_under_id));
            assert_eq!(held.len(), usize::from(block.holders));
        }
    }

    #[test]
    fn a_full_block_has_every_trait_at_every_carrier_and_a_ring() {
        for index in 0..20 {
            let block = Block::plan(&Seed::new(11), index, 256);
            for carrier in 0..CARRIERS {
                let slots: Vec<Slot> = (0..256).map(|row| block.slot(carrier, row)).collect();
                for wanted in Trait::ALL {
                    assert!(slots.iter().any(|slot| slot.traits.has(wanted)), "{wanted:?} at {carrier}");
                }
            }
            let ring: Vec<&Slot> = block.slots.iter().filter(|slot| slot.in_ring).collect();
            assert!(ring.len() >= 10);
            assert!(ring.iter().all(|slot| slot.numbers_under_id >= 5));
        }
    }

    #[test]
    fn former_holders_and_fellows_are_other_people() {
        let block = Block::plan(&Seed::new(11), 2, 256);
        let mut rng = Seed::new(1).stream(Purpose::Row, 0);
        for slot in &block.slots {
            assert_ne!(block.somebody_else(&mut rng, *slot), block.holder(*slot));
            assert_eq!(block.fellow(&mut rng, *slot).is_some(), slot.in_ring);
            assert_ne!(block.fellow(&mut rng, *slot), Some(block.holder(*slot)));
        }
    }
}
