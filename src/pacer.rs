//! When each hit is due.

/// How the dues of a minute lie.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Arrivals {
    /// At equal distances.
    #[default]
    Even,
    /// At random, as independent users would: the same number of hits, a Poisson process given its count.
    Poisson,
}
