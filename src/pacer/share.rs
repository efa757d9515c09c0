//! A test that is too much for one thread is dealt out, like cards.

/// One of the equal parts of a test that are paced apart: of `of` shares, number `number` has every hit whose
/// number leaves that remainder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// Which one it is, from 0.
    pub(super) number: u32,
    /// How many there are, at least 1.
    pub(super) of: u32,
}

impl Share {
    /// The one share of a test that isn't divided.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// All shares of a test that is divided into `of`; 0 is taken for 1.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (0..of.max(1)).map(move |number| Self { number, of: of.max(1) })
    }

    /// How many of `total` things that are dealt out in turn are this share's: of 8, the shares of 3 have 3, 3, 2.
    pub fn part_of(self, total: u64) -> u64 {
        total.saturating_sub(self.number.into()).div_ceil(self.of.into())
    }

    /// The number, in the whole test, of this share's hit `nth`.
    pub(super) fn hit(self, nth: u64) -> u64 {
        u64::from(self.number) + nth * u64::from(self.of)
    }
}
